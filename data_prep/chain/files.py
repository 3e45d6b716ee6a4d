"""Writes the train and test file of the chain task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.chain.problem import Rule, Space, generate
from data_prep.chain.rows import LONGER, row_key, to_row
from data_prep.split import Prepared, write_distinct


def prepare(
    out_dir: Path,
    n_train: int = 4096,
    n_test: int = 256,
    seed: int = 0,
    rule: Rule = "sum",
    states: int = 4,
    depth: int = 10,
    test_depths: Sequence[int] = (),
    table: int = 0,
) -> Prepared:
    """Writes out_dir/train.parquet and out_dir/test.parquet with disjoint problems of `depth` steps.

    test_depths: for each of them the test file has n_test more problems, with a separate data source.
    The test file does not depend on n_train.
    """
    check(n_train, n_test, rule=rule, states=states, depth=depth, test_depths=test_depths, table=table)
    space = Space(rule, states, depth, table)
    test = generate(n_test, seed, "test", space)
    deeper = [
        problem
        for other in test_depths
        for problem in generate(n_test, seed, "test", Space(rule, states, other, table))
    ]
    train = generate(n_train, seed, "train", space, {problem.key for problem in test})
    rows = [to_row(problem, index, "test") for index, problem in enumerate(test)]
    rows += [to_row(problem, index, "test", LONGER) for index, problem in enumerate(deeper, start=n_test)]
    return write_distinct(
        out_dir, [to_row(problem, index, "train") for index, problem in enumerate(train)], rows, row_key, "problem"
    )


def check(
    n_train: int, n_test: int, rule: Rule, states: int, depth: int, test_depths: Sequence[int] = (), table: int = 0
) -> None:
    """Raises ValueError for arguments that `prepare` cannot satisfy."""
    space = Space(rule, states, depth, table)
    if depth in test_depths or len(set(test_depths)) < len(test_depths):
        raise ValueError(f"test_depths must be different numbers other than depth {depth}, got {list(test_depths)}")
    for n, deep in ((n_train + n_test, space), *((n_test, Space(rule, states, other, table)) for other in test_depths)):
        if n > deep.size:
            raise ValueError(
                f"asked for {n} problems, but of depth {deep.depth} with {states} states there are {deep.size}; "
                "ask for fewer, or for a greater depth or more states"
            )
