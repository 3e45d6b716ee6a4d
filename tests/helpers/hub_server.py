"""A stand-in for the Hugging Face Hub: one token, repositories in memory, uploads of whole files in a commit."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_stand_in"
OTHERS = "others/model"
"""A repository that everybody may read."""


class Hub:
    """What was asked of it and what it holds."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.refuses_commits = False


@contextmanager
def hub_server() -> Iterator[Hub]:
    """The hub at a free port, as long as the block lasts."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, value: Any, code: int = 200, **headers: str) -> None:
            body = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def _known(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return True
            self._answer({"error": "Invalid user token."}, 401)
            return False

        def do_GET(self) -> None:
            if self._known():
                name = "/".join(self.path.removeprefix("/api/models/").split("/")[:2])
                if self.path == "/api/whoami-v2":
                    self._answer({"name": "me", "type": "user", "auth": {"type": "access_token"}})
                elif self.path.endswith("/auth-check/write") and name not in hub.private:
                    self._answer({"error": "You have no write access to it"}, 403)
                elif name in hub.private or name == OTHERS:
                    self._answer({"sha": "0" * 40, "id": name, "siblings": []})
                else:
                    self._answer({"error": "Repository not found"}, 404)

        def do_PUT(self) -> None:
            hub.uploads[self.path.rpartition("/")[2]] = self._body()
            self._answer({})

        def do_POST(self) -> None:
            body, path = self._body(), self.path.partition("?")[0]
            if not self._known():
                return
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization") or "me", asked["name"])))
                if name.startswith("others/"):
                    self._answer({"error": "You don't have the rights to create a model here"}, 403)
                    return
                hub.private.setdefault(name, bool(asked.get("private") or asked.get("visibility") == "private"))
                hub.files.setdefault(name, {})
                self._answer({"url": f"{hub.endpoint}/{name}"})
            elif path == "/api/validate-yaml":
                self._answer({"warnings": [], "errors": []})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                    for f in files
                ]
                self._answer({"files": [{**mode, "shouldIgnore": False, "oid": None} for mode in modes]})
            elif path.endswith("/info/lfs/objects/batch"):
                found = [
                    {**o, "actions": {"upload": {"href": f"{hub.endpoint}/put/{o['oid']}", "header": {}}}}
                    for o in json.loads(body)["objects"]
                ]
                self._answer({"transfer": "basic", "objects": found})
            elif "/commit/" in path:
                name = path.removeprefix("/api/models/").partition("/commit/")[0]
                if hub.refuses_commits:
                    self._answer({"error": "out of space"}, 507)
                    return
                for line in body.decode().splitlines():
                    told = json.loads(line)
                    value = told["value"]
                    if told["key"] == "file":
                        hub.files[name][value["path"]] = base64.b64decode(value["content"])
                    elif told["key"] == "lfsFile":
                        hub.files[name][value["path"]] = hub.uploads[value["oid"]]
                url = f"{hub.endpoint}/{name}/commit/{'0' * 40}"
                self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": url})
            else:
                self._answer({"error": f"no such page: {path}"}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
