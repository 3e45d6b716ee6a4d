"""--push_to_hub: upload the weights of a finished run to the Hugging Face Hub. The token is read only from HF_TOKEN."""

import os
from typing import Any

from data_prep.asking_hub import asking_hub
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir

TOKEN = "HF_TOKEN"


def refuse_push(name: str, *, make: bool = False) -> None:
    """Check, before anything is trained, that the hub will accept the weights.

    Args:
        make: create the repository if it does not exist, as a private one.

    Raises:
        ExperimentError: no token, an unknown one, or one that may not write to the repository.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ExperimentError(f"--push_to_hub {name}: not a valid name on the hub; use ORG/NAME") from None
    if name.count("/") != 1:
        raise ExperimentError(f"--push_to_hub {name}: use ORG/NAME, where ORG is your own name or an organisation's")
    token = os.environ.get(TOKEN)
    if not token:
        raise ExperimentError(f"--push_to_hub {name}: needs a token with write access in the variable {TOKEN}")
    api = _api(token)
    try:
        with asking_hub(f"may {name} be written?"):
            api.whoami()
            if make:
                # For somebody else's repository this says only that it exists.
                api.create_repo(name, private=True, exist_ok=True)
                api.auth_check(name, write=True)
    except HfHubHTTPError as error:
        raise ExperimentError(f"--push_to_hub {name}: {_reason(error)}") from None
    except Exception as error:  # whatever its HTTP client raises without a network
        raise ExperimentError(f"--push_to_hub {name}: {api.endpoint} does not answer ({_first_line(error)})") from None


def push(run: RunDir, name: str) -> str:
    """Upload hf/last, and the adapter, if there is one, as a subfolder; returns the page's URL.

    Raises:
        ExperimentError: the upload failed; the weights are still in the run's folder.
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
    except Exception as error:  # from the hub, its HTTP client or the network: the remedy is the same
        raise ExperimentError(
            f"--push_to_hub {name}: {_first_line(error)}; the run is finished and its weights are in {weights}: the "
            f"same command with --resume retries the upload"
        ) from None
    return str(done.repo_url)


def _api(token: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"the hub does not accept the token in {TOKEN}"
    if status == 403:
        return f"the token in {TOKEN} has no write access there"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
