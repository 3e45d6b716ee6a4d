"""vLLM's own word on an engine before a run starts one: `python -m recipes.verl_plugin.ask_vllm` reads the arguments
of AsyncEngineArgs from stdin as JSON, and prints on its last line what is wrong with them, if anything is.

A process of its own: importing vLLM takes seconds, and leaves a process changed.
"""

import json
import sys


def main() -> None:
    """Make the configuration; no model is loaded."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    if not current_platform.device_type:  # the build for CUDA on a login node: there it refuses every engine
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
