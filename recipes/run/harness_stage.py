"""A stage run by lm-evaluation-harness: `python -m recipes.run.harness_stage --out DIR`; flags as in eval.harness."""

import sys
import threading
from pathlib import Path

from eval.harness import main as harness
from recipes.common.records import Records
from recipes.common.run_dir import RunDir

BEAT_SECONDS = 20.0


def main() -> int:
    """Run the harness with a heartbeat; returns its exit code."""
    run = RunDir(Path(sys.argv[sys.argv.index("--out") + 1]))
    records = Records(run.path, total_steps=1)
    records.phase("starting", 0)
    ended = threading.Event()

    def beat() -> None:
        # The harness has no hook for a heartbeat; new output, such as its progress bars, shows that it is alive.
        seen = 0
        while not ended.wait(BEAT_SECONDS):
            size = run.log.stat().st_size if run.log.exists() else 0
            if size != seen:
                seen = size
                records.phase("evaluating", 0)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        code = harness()
    finally:
        ended.set()
        beating.join()
    if code == 0:
        records.phase("finished", 1)
    return code


if __name__ == "__main__":
    sys.exit(main())
