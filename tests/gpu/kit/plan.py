"""The commands for a GPU machine without a network, in order, with the minutes each will take.

There no command takes longer than ten minutes, and what one wrote to /tmp the next need: keep the machine between them.
Minutes of starts and of the main job were measured on an H200 (results/gpu_h200); the rest is reckoned from 2.2 minutes
a start.
"""

import argparse
import sys

SITE, PARTS, OUT = "/tmp/site", ".gpu", "out/hour"

HERE = [
    (20, f"python -m tests.gpu.kit.pack --python python3.12 --out {PARTS}"),
    (70, f"python -m tests.gpu.kit.rehearse --python python3.12 --parts {PARTS}"),
]
"""Where there is a network: minutes on two cores, and the command. The rehearsal took 40 to 69."""

STAGES = [
    (1, "check data"),
    (6, "smoke+untied+main"),
    (8, "tests_first"),
    (6, "tests_sft"),
    (8, "tests_resume"),
    (9, "tests_runners"),
    (9, "bench"),
    (9, "cell_uft+cell_rft+cell_sft_rft"),
    (6, "mismatch_none+mismatch_token"),
    (4, "head"),
]
"""Minutes, and what one command runs of hour.py, most important first."""


def commands() -> list[tuple[int, str]]:
    """(minutes, command) on the GPU machine."""
    entered = f"source tests/gpu/kit/environment.sh {SITE}"
    joined = f"bash tests/gpu/kit/join.sh {PARTS} {SITE} && {entered} && python -m compileall -q -j 0 {SITE}"
    hour = f"{entered} && python -m tests.gpu.kit.hour --out {OUT} --minutes 9.5"
    return [(3, joined), *((minutes, f"{hour} {stages}") for minutes, stages in STAGES)]


def main() -> int:
    """Print them."""
    argparse.ArgumentParser(prog="python -m tests.gpu.kit.plan", description=main.__doc__).parse_args()
    print("Where there is a network:")
    for minutes, command in HERE:
        print(f"{minutes:>4} min  {command}")
    print(f"Carry the repository and the files of {PARTS} to the GPU machine, into the same folder of it. There:")
    for minutes, command in commands():
        print(f"{minutes:>4} min  {command}")
    print(f"After each: {OUT}/summary.json and {OUT}/hour.tar.gz hold what there is so far.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
