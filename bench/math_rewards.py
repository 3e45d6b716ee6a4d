"""`python -m bench.math_rewards`: our mathematics reward and plain math-verify on the same answers, with cold caches.

    python -m bench.math_rewards [--n 3000] [--out results/math_rewards.json]

Answers: the labelled trials and `n` random answers of known verdict, as in `reward_fns selftest` and `fuzz`. Plain
math-verify gets the text in the answer tags, with its default settings and its own limit of 5 seconds.
"""

import argparse
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from eval.reporting.cells import Table, markdown
from recipes.common.run_dir import write_json
from reward_fns import compute_score, pool
from reward_fns.answer_tags import answer_texts
from reward_fns.trials.fuzz_math import sample
from reward_fns.trials.selftest import labelled

THREADS = 16


@dataclass(frozen=True)
class Timing:
    """The result of one way of judging. Milliseconds are latencies of single answers, as a rollout sees them."""

    way: str
    answers: int
    per_second: float
    median_ms: float
    p99_ms: float
    slowest_ms: float
    refused_correct: int
    """Correct answers judged incorrect."""
    accepted_wrong: int
    """Incorrect answers judged correct."""


def plain_math_verify(response: str, gold: str) -> bool:
    """The library alone, on the text in the answer tags, which it would otherwise have to find in the reasoning."""
    from math_verify import parse, verify

    texts = answer_texts(response)
    return bool(texts) and bool(verify(parse(f"${gold}$"), parse(f"${texts[-1]}$")))


def ours(response: str, gold: str) -> bool:
    """The reward of a run."""
    return compute_score("math", response, {"target": gold})["acc"] == 1.0


def timed(
    way: str, judge: Callable[[str, str], bool], answers: Sequence[tuple[str, str, bool]], threads: int
) -> Timing:
    """Judge (response, gold, correct) triples, `threads` at a time."""

    def one(answer: tuple[str, str, bool]) -> tuple[float, bool]:
        before = time.perf_counter()
        verdict = judge(answer[0], answer[1])
        return time.perf_counter() - before, verdict

    # Loading the verifier belongs to the start of a run: every worker gets a symbolic question first.
    slow = [(f"<answer> \\int {n} x\\,dx </answer>", f"\\frac{{{n} x^2}}{{2}}", True) for n in range(3, 3 + threads)]
    with ThreadPoolExecutor(threads) as pool:
        # math-verify's own time limits only work in the main thread.
        each_of = map if threads == 1 else pool.map
        list(each_of(one, slow))
        started = time.perf_counter()
        found = list(each_of(one, answers))
        seconds = time.perf_counter() - started
    taken = sorted(1000 * each for each, _ in found)
    pairs = [(verdict, correct) for (_, verdict), (_, _, correct) in zip(found, answers, strict=True)]
    return Timing(
        way=way,
        answers=len(answers),
        per_second=len(answers) / seconds,
        median_ms=taken[len(taken) // 2],
        p99_ms=taken[int(0.99 * len(taken))],
        slowest_ms=taken[-1],
        refused_correct=sum(correct and not verdict for verdict, correct in pairs),
        accepted_wrong=sum(verdict and not correct for verdict, correct in pairs),
    )


def drawn(n: int) -> list[tuple[str, str, bool]]:
    """The labelled mathematics answers and `n` random ones, each once."""
    draw = random.Random("bench.math_rewards")
    trials = [trial for trial in [*labelled("math"), *(sample(draw) for _ in range(n))] if trial.label != "any"]
    found = {(trial.response, trial.ground_truth["target"]): trial.label == "correct" for trial in trials}
    return [(response, gold, correct) for (response, gold), correct in found.items()]


def main() -> None:
    """Measure, print, write."""
    flags = argparse.ArgumentParser(prog="python -m bench.math_rewards", description=(__doc__ or "").split("\n\n")[0])
    flags.add_argument("--n", type=int, default=3000, help="random answers")
    flags.add_argument("--out", type=Path, default=Path("results/math_rewards.json"))
    options = flags.parse_args()
    logging.disable(logging.ERROR)
    answers = drawn(options.n)
    found = []
    for way, judge, threads in (
        ("plain math-verify, one process", plain_math_verify, 1),
        ("ours, one at a time", ours, 1),
        (f"ours, {THREADS} threads, {pool.shared_pool().workers} workers", ours, THREADS),
    ):
        pool.shared_pool().close()
        pool.shared_pool.cache_clear()
        found.append(timed(way, judge, answers, threads))
        print(found[-1], flush=True)
    write_json(options.out, {"math-verify": version("math-verify"), "ways": [asdict(each) for each in found]})
    head = ("way", "answers", "a second", "median", "99 %", "slowest", "correct refused", "others accepted")
    rows = tuple(
        (
            each.way,
            f"{each.answers:,}",
            f"{each.per_second:,.0f}",
            *(f"{value:.2f} ms" for value in (each.median_ms, each.p99_ms, each.slowest_ms)),
            str(each.refused_correct),
            str(each.accepted_wrong),
        )
        for each in found
    )
    print(markdown(Table(head, rows)))


if __name__ == "__main__":
    main()
