"""--push_to_hub: the weights of a finished run on the Hugging Face Hub. The token comes from HF_TOKEN alone."""

import os
from typing import Any

from data_prep.asking_hub import asking_hub
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir

TOKEN = "HF_TOKEN"


def refuse_push(name: str, *, make: bool = False) -> None:
    """Ask the hub, before anything is trained, whether it will take the weights.

    Args:
        make: the repository too, private where it is new.

    Raises:
        ExperimentError: no token, one that the hub does not know, or a repository that it may not write.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ExperimentError(f"--push_to_hub {name}: not a name on the hub; give ORG/NAME") from None
    if name.count("/") != 1:
        raise ExperimentError(f"--push_to_hub {name}: give ORG/NAME, ORG being your own name or an organisation's")
    token = os.environ.get(TOKEN)
    if not token:
        raise ExperimentError(f"--push_to_hub {name}: needs a token that may write in the environment variable {TOKEN}")
    api = _api(token)
    try:
        with asking_hub(f"may {name} be written?"):
            api.whoami()
            if make:
                # Of a repository that is somebody else's this says only that it exists.
                api.create_repo(name, private=True, exist_ok=True)
                api.auth_check(name, write=True)
    except HfHubHTTPError as error:
        raise ExperimentError(f"--push_to_hub {name}: {_reason(error)}") from None
    except Exception as error:  # whatever its HTTP client raises where there is no network
        raise ExperimentError(f"--push_to_hub {name}: {api.endpoint} does not answer ({_first(error)})") from None


def push(run: RunDir, name: str) -> str:
    """Upload hf/last, with the adapter in a folder of its own where there is one; the page's address.

    Raises:
        ExperimentError: the hub did not take them; they are still in the run's folder.
    """
    api, weights = _api(os.environ.get(TOKEN)), run.hf / "last"
    message = f"{run.path.name}: weights of the last step"
    try:
        with asking_hub(f"uploading {run.path.name}"):
            done = api.upload_folder(repo_id=name, folder_path=weights, commit_message=message)
            if (run.hf / "adapter").is_dir():
                api.upload_folder(
                    repo_id=name, folder_path=run.hf / "adapter", path_in_repo="adapter", commit_message=message
                )
    except Exception as error:  # of the hub, of its HTTP client, of the network: the way out is the same
        raise ExperimentError(
            f"--push_to_hub {name}: {_first(error)}; the run is finished, its weights are in {weights}: the same "
            f"command with --resume tries again"
        ) from None
    return str(done.repo_url)


def _api(token: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"the hub does not know the token in {TOKEN}"
    if status == 403:
        return f"the token in {TOKEN} may not write there"
    return _first(error)


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
