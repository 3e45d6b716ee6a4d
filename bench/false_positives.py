"""How often do two equal algorithms seem to differ? The statistics of reports, and rejected ones, on simulated runs.

    python -m bench.false_positives          writes rates.json and table.md to results/false_positives (minutes)

Run r answers problem j correctly if  ease_j + bent_j + luck_r + noise > 0, all normal. The two algorithms have the same
distribution: runs differ by luck (given as the standard deviation of a run's accuracy), and where the algorithms favour
different problems each has its own bent. Intervals: 95 %, of the difference.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from eval.intervals import Interval, of_differences, over_both, over_problems, spread, t_interval
from eval.reporting.cells import Table, markdown
from recipes.common.run_dir import write_json, write_text

OUT = Path("results/false_positives")
_EASE, _BENT = 1.5, 0.7
_RESAMPLES, _FEWER = 1000, 400
MISSED = "accuracy missed"

Runs = np.ndarray
"""0 or 1, of shape (seeds, problems)."""


@dataclass(frozen=True)
class Setting:
    """What to simulate."""

    seeds: int
    problems: int
    accuracy: float
    luck: float
    """Standard deviation of a run's accuracy over seeds, on fixed problems."""
    favours: bool
    """Whether the algorithms favour different problems."""


SETTINGS = [
    Setting(seeds, problems, accuracy, luck, favours)
    for seeds in (3, 5)
    for problems, accuracy in ((256, 0.5), (30, 0.1))
    for favours in (False, True)
    for luck in (0.0, 0.015, 0.03, 0.08)
]


def simulate(rng: np.random.Generator, setting: Setting) -> tuple[Runs, Runs]:
    """Answers of two equal algorithms to the same problems."""
    bent = _BENT if setting.favours else 0.0
    total = math.sqrt(1 + _EASE**2 + bent**2)
    # To first order, a luck of 1 moves the accuracy by the normal density at it over the total deviation.
    normal = NormalDist()
    at = normal.inv_cdf(setting.accuracy)
    luck = setting.luck * total / normal.pdf(at)
    ease = rng.normal(at * math.hypot(total, luck), _EASE, setting.problems)
    runs = []
    for _ in range(2):
        own = ease + rng.normal(0, 1, setting.problems) * bent
        shift = rng.normal(0, 1, (setting.seeds, 1)) * luck
        runs.append((own + shift + rng.normal(0, 1, (setting.seeds, setting.problems)) > 0).astype(float))
    return runs[0], runs[1]


def both(a: Runs, b: Runs, _: np.random.Generator) -> bool:
    """Over seeds (Student's t) and problems, as in reports."""
    problems = of_differences((a - b).mean(0).tolist(), resamples=_RESAMPLES)
    return _leaves_out(over_both(spread((a - b).mean(1).tolist()), problems))


def t_alone(a: Runs, b: Runs, _: np.random.Generator) -> bool:
    """Student's t over seeds."""
    found = spread((a - b).mean(1).tolist())
    assert found is not None
    return _leaves_out(t_interval(found))


def one_seed(a: Runs, b: Runs, _: np.random.Generator) -> bool:
    """The first seed of each, over problems."""
    return _leaves_out(of_differences((a[0] - b[0]).tolist(), resamples=_RESAMPLES))


def seeds_redrawn(a: Runs, b: Runs, rng: np.random.Generator) -> bool:
    """Percentile bootstrap of the seeds."""
    by_seed = (a - b).mean(1)
    means = rng.choice(by_seed, (_FEWER, len(by_seed))).mean(1)
    return _outside(means)


def both_redrawn(a: Runs, b: Runs, rng: np.random.Generator) -> bool:
    """Percentile bootstrap of seeds and problems."""
    seeds, problems = a.shape
    distinct, counts = np.unique(a - b, axis=1, return_counts=True)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), _FEWER) / seeds
    of_problems = rng.multinomial(problems, counts / problems, _FEWER) / problems
    return _outside(((of_problems @ distinct.T) * of_seeds).sum(1))


def signs_of_problems(a: Runs, b: Runs, rng: np.random.Generator) -> bool:
    """Sign flips of the problems' means over seeds (p < .05)."""
    moved, counts = np.unique((a - b).mean(0), return_counts=True)
    signs = 2 * rng.binomial(counts, 0.5, (_FEWER, len(moved))) - counts
    reached = np.abs(signs @ moved) >= abs(counts @ moved) * (1 - 1e-9)
    return bool((reached.sum() + 1) / (_FEWER + 1) < 0.05)


METHODS: dict[str, Callable[[Runs, Runs, np.random.Generator], bool]] = {
    "over both (reports)": both,
    "t over seeds alone": t_alone,
    "problems alone, 1 seed": one_seed,
    "bootstrap of seeds": seeds_redrawn,
    "bootstrap of seeds and problems": both_redrawn,
    "sign flips of problems": signs_of_problems,
}


def accuracy_missed(a: Runs, setting: Setting) -> bool:
    """Whether the interval of an algorithm's own accuracy, as in the results table, misses the true accuracy."""
    found = over_both(spread(a.mean(1).tolist()), over_problems(a.mean(0).tolist(), resamples=_RESAMPLES))
    return not found.low <= setting.accuracy <= found.high


def rates(setting: Setting, trials: int, seed: int) -> dict[str, float]:
    """The share of trials in which each method finds a difference, and in which an accuracy's interval misses."""
    rng = np.random.default_rng([seed, *(round(1000 * each) for each in asdict(setting).values())])
    found = dict.fromkeys((*METHODS, MISSED), 0)
    for _ in range(trials):
        a, b = simulate(rng, setting)
        for name, method in METHODS.items():
            found[name] += method(a, b, rng)
        found[MISSED] += accuracy_missed(a, setting)
    return {name: count / trials for name, count in found.items()}


def table(results: list[dict[str, float]]) -> str:
    """The rates as Markdown, in percent."""
    names = (*METHODS, MISSED)
    rows = []
    for each in results:
        where = f"{each['accuracy']:.0%} of {each['problems']}", "yes" if each["favours"] else "no"
        head = (str(each["seeds"]), *where, f"{100 * each['luck']:.1f}")
        rows.append((*head, *(f"{100 * each[name]:.1f}" for name in names)))
    return markdown(
        Table(("seeds", "problems right", "favour different problems", "deviation of a run", *names), tuple(rows))
    )


def _leaves_out(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def _outside(means: np.ndarray) -> bool:
    low, high = np.quantile(means, [0.025, 0.975])
    return bool(low > 0 or high < 0)


def main() -> None:
    """Simulate every setting and write the rates."""
    flags = argparse.ArgumentParser(prog="python -m bench.false_positives", description=__doc__)
    flags.add_argument(
        "--trials", type=int, default=2000, help="per setting; 2000 give a rate of 5 %% to within 1 point"
    )
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--out", type=Path, default=OUT)
    given = flags.parse_args()
    results = []
    for setting in SETTINGS:
        results.append(asdict(setting) | rates(setting, given.trials, given.seed))
        print(results[-1], flush=True)
        write_json(given.out / "rates.json", {"trials": given.trials, "seed": given.seed, "rates": results})
        write_text(given.out / "table.md", table(results) + "\n")


if __name__ == "__main__":
    main()
