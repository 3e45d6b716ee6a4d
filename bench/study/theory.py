"""`python3 -m bench.study.theory`: leaves of the UFT paper's search tree that are explored until pass@1 is one half.

A tree of height H with B branches and one right leaf (Liu et al., arXiv 2505.16984, section 4); tabular algorithm 2:

    l steps are given;  A~(s_h, a) = Q~(s_h, a) - sum_a pi Q~,  Q~ the reward of one more rollout from each (s_h, a)
    theta(s_h) <- (theta(s_h) + eta A~) / (1 + eta beta), h >= l;   theta(s_h) += eta beta (e_{a*} - pi), h < l
Off the right path all rewards are equal, hence A~ = 0 and the policy stays uniform: only the H tables of the path are
stored, and a rollout that leaves it fails. Theorem 4.2: without hints some problem needs B^H / 4 leaves. Theorem 4.3:
with hints of uniform length O(B H^5 (log B)^2 / Delta^2) suffice, Delta being the gap between the two rewards.

Beside it: rollouts that the real loop made on chains (results/chain_cpu) until accuracy is one half. A chain's depth is
the height; its base, right at a step with q + (1 - q) / 4 = .55, is like 1.8 branches.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from bench.study.cells import Cell
from bench.study.figures import REAL_FILE, Found, Point, Runs, of_real
from eval.reporting.style import colour, house_style, legend_below, save
from recipes import ROOT
from recipes.common.run_dir import write_json

Method = Literal["rft", "hints only", "uft", "adaptive"]
METHODS: Final[tuple[Method, ...]] = ("rft", "hints only", "uft", "adaptive")
TREES: Final = tuple((2, height) for height in range(4, 16, 2)) + tuple((4, height) for height in range(3, 8))
RIGHT, WRONG, ETA, BETA, LIMIT = 1.0, 0.1, 1.0, 0.01, 2_000_000
OUT: Final = ROOT / "results/study"
ROLLOUTS: Final = 32 * 4
"""Of a step of the real loop on chains."""
CHAINS: Final = (Cell(6, 0.4, 0.3), Cell(10, 0.4, 0.1), Cell(15, 0.4, 0.1), Cell(20, 0.4, 0.1))
ALGOS: Final[Mapping[Method, str]] = {"rft": "rft", "hints only": "r3", "uft": "uft", "adaptive": "uft_adaptive"}
"""The same idea in the real loop, whose uft shortens hints by the clock instead of drawing uniform lengths."""


def leaves(method: Method, branches: int, height: int, seed: int) -> int:
    """Leaves explored until pass@1 is one half, at most LIMIT."""
    rng = np.random.default_rng([METHODS.index(method), branches, height, seed])
    theta, explored = np.zeros((height, branches)), 0
    success = np.full(height + 1, 0.5)
    while explored < LIMIT:
        policy = softmax(theta)
        # onward[h]: the probability of the right leaf from the path's state h.
        onward = np.append(np.cumprod(policy[::-1, 0])[::-1], 1.0)
        if onward[0] >= 0.5:
            return explored
        given = hint_length(method, height, success, rng)
        followed = given + int(np.minimum.accumulate(rng.random(height - given) < policy[given:, 0]).sum())
        explored += 1 + branches * (height - given)
        if method == "adaptive":
            success[given] += 0.2 * (float(followed == height) - success[given])
        for at in range(given, min(followed + 1, height)):
            reward = np.full(branches, WRONG)
            if rng.random() < onward[at + 1]:
                reward[0] = RIGHT
            theta[at] = updated(theta[at], reward, policy[at])
        if method in ("uft", "adaptive"):
            theta[:given] += ETA * BETA * (np.eye(branches)[0] - policy[:given])
    return explored


def hint_length(method: Method, height: int, success: np.ndarray, rng: np.random.Generator) -> int:
    """0; uniform from 0 to H; or, adaptive, by exp(-|success - 1/2| / .1) of a running success by length."""
    if method == "rft":
        return 0
    if method != "adaptive":
        return int(rng.integers(height + 1))
    likely = np.exp(-abs(success[:height] - 0.5) / 0.1) + 0.01
    return int(rng.choice(height, p=likely / likely.sum()))


def updated(theta: np.ndarray, reward: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """(B,) logits of a visited state after one step, from (B,) rewards of its actions; the reference is uniform."""
    return np.asarray((theta + ETA * (reward - policy @ reward)) / (1 + ETA * BETA))


def softmax(theta: np.ndarray) -> np.ndarray:
    """(H, B) probabilities."""
    likely = np.exp(theta - theta.max(-1, keepdims=True))
    return np.asarray(likely / likely.sum(-1, keepdims=True))


def lower_bound(branches: int, height: int) -> float:
    """Theorem 4.2, for methods without hints."""
    return branches**height / 4


def upper_order(branches: int, height: int) -> float:
    """Theorem 4.3's order, without its constant."""
    return float(branches * height**5 * np.log(branches) ** 2 / (RIGHT - WRONG) ** 2)


def measured(seeds: int, trees: tuple[tuple[int, int], ...] = TREES) -> list[dict[str, Any]]:
    """For each tree the bounds, and for each method the median, lowest and highest number of leaves."""
    found = []
    for branches, height in trees:
        row: dict[str, Any] = {"B": branches, "H": height, "B^H/4": lower_bound(branches, height)}
        row["order of theorem 4.3"] = round(upper_order(branches, height))
        for method in METHODS:
            every = [leaves(method, branches, height, seed) for seed in range(seeds)]
            row[method] = {"median": statistics.median(every), "lowest": min(every), "highest": max(every)}
        found.append(row)
    return found


def real() -> Found:
    """The real loop's runs; GRPO's at depth 10 are those without the bonus, under which it learns nothing there."""
    found = of_real()
    bare: Runs = defaultdict(dict)
    with (REAL_FILE.parent / "entropy0/validations.csv").open(encoding="utf-8", newline="") as lines:
        for r in csv.DictReader(lines):
            bare[int(r["run"][-1])][int(r["step"])] = Point(float(r["val/acc"]))
    found[CHAINS[1]]["rft"] = bare
    return found


def on_chains(found: Found) -> list[dict[str, Any]]:
    """Rollouts until accuracy is one half, by cell of CHAINS and method: the median over seeds, accuracy linear between
    validations. A run that ends below one half counts as infinitely many; "made" is what the runs of a cell have."""
    rows = []
    for cell, (method, algo) in product(CHAINS, ALGOS.items()):
        runs = found.get(cell, {}).get(algo, {})
        if not runs:
            continue
        needed = [rollouts_until_half({step: of.accuracy for step, of in run.items()}) for run in runs.values()]
        half = statistics.median(needed)
        made = ROLLOUTS * max(max(run) for run in runs.values())
        about = {"depth": cell.depth, "noise": cell.noise, "method": method, "algo": algo, "seeds": len(runs)}
        rows.append({**about, "rollouts until 1/2": round(half) if math.isfinite(half) else None, "made": made})
    return rows


def rollouts_until_half(curve: Mapping[int, float]) -> float:
    """Of a run's accuracies by step."""
    for (before, low), (after, high) in pairwise(sorted(curve.items())):
        if low < 0.5 <= high:
            return ROLLOUTS * (before + (after - before) * (0.5 - low) / (high - low))
    return math.inf


def _titled(method: Method) -> str:
    return method if method == ALGOS[method] else f"{method} (chains: {ALGOS[method]})"


def draw(rows: list[dict[str, Any]], chains: list[dict[str, Any]], path: Path) -> None:
    """Leaves over height, one panel per number of branches, leaves on a logarithmic axis; chains beside two branches: a
    cross where one half was reached, a triangle at the rollouts that did not suffice."""
    with house_style():
        import matplotlib.pyplot as plt

        widths = sorted({row["B"] for row in rows})
        figure, axes = plt.subplots(1, len(widths), figsize=(9, 3.6), sharey=True, squeeze=False)
        for axis, branches in zip(axes[0], widths, strict=True):
            of = [row for row in rows if row["B"] == branches]
            height = [row["H"] for row in of]
            for method in METHODS:
                median, drawn = [row[method]["median"] for row in of], {"color": colour(ALGOS[method])}
                axis.plot(height, median, label=_titled(method), marker="o", markersize=4, **drawn)
                low, high = ([row[method][end] for row in of] for end in ("lowest", "highest"))
                axis.fill_between(height, low, high, alpha=0.15, **drawn)
            axis.plot(height, [row["B^H/4"] for row in of], "k--", label="lower bound without hints, B^H/4")
            axis.set(yscale="log", xlabel="height H", title=f"{branches} branches")
            axis.xaxis.get_major_locator().set_params(integer=True)
            for row in chains if branches == 2 else ():
                half, beside = row["rollouts until 1/2"], 0.25 * (METHODS.index(row["method"]) - 1.5)
                drawn = {"color": colour(row["algo"]), "marker": "x" if half else "^", "linestyle": "none"}
                axis.plot(row["depth"] + beside, half or row["made"], **drawn)
        for marker, label in (("x", "real loop, chains of 6, 10, 15, 20 steps"), ("^", "the same: more than this")):
            axes[0][0].plot([], [], color="0.4", marker=marker, linestyle="none", label=label)
        # The house style turns mathtext off, so powers of ten are written out.
        axes[0][0].yaxis.set_major_formatter("{x:,.0f}")
        axes[0][0].set_ylabel("leaves or rollouts until half are right")
        handles, labels = axes[0][0].get_legend_handles_labels()
        legend_below(figure, dict(zip(labels, handles, strict=True)))
        save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write results/study/theory.json and theory.png; returns the exit code."""
    ArgumentParser(prog="python3 -m bench.study.theory", description=__doc__).parse_args(arguments)
    rows, chains = measured(seeds=11), on_chains(real())
    about = {"eta": ETA, "beta": BETA, "rewards": [RIGHT, WRONG], "seeds": 11}
    write_json(OUT / "theory.json", {**about, "trees": rows, "chains": chains})
    draw(rows, chains, OUT / "theory.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
