"""An endpoint as judges are asked at: answers what a test says."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, str]


class Server:
    """An OpenAI-compatible endpoint. answer(body, n): status and text for the n-th request (from 1) of a prompt."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.most_at_once = 0
        seen: Counter[str] = Counter()
        lock = threading.Lock()
        active = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                nonlocal active
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    active += 1
                    server.most_at_once = max(server.most_at_once, active)
                    server.bodies.append(body)
                    server.authorizations.append(self.headers.get("Authorization"))
                    prompt = body["messages"][-1]["content"]
                    seen[prompt] += 1
                    count = seen[prompt]
                status, text = answer(body, count)
                content: Any = {"error": {"message": text}}
                if status == 200:
                    message = {"role": "assistant", "content": text}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    content = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                data = json.dumps(content).encode()
                with lock:
                    active -= 1
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self.http.shutdown()
        self.http.server_close()
