"""Validates engine arguments with vLLM before a run starts: `python -m recipes.verl_plugin.ask_vllm` reads arguments of
AsyncEngineArgs as JSON from stdin and prints vLLM's error, or nothing, as its last line.

A separate process, because importing vLLM takes seconds and changes the state of the process.
"""

import json
import sys


def main() -> None:
    """Create the configuration; no model is loaded."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    if not current_platform.device_type:  # a CUDA build on a login node, where it rejects every engine
        print()
        return
    try:
        AsyncEngineArgs(**json.load(sys.stdin)).create_engine_config()
    except Exception as error:
        # pydantic: "1 validation error for CacheConfig\nblock_size\n  Input should be ..."
        print("\n" + " ".join(str(error).partition(" [type=")[0].split()))
    else:
        print()


if __name__ == "__main__":
    main()
