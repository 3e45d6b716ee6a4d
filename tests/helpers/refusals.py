"""Commands that are refused: in one line, with code 2."""

from collections.abc import Callable

import pytest

import run


def refusal(
    capsys: pytest.CaptureFixture[str],
    *words: str,
    command: Callable[[list[str]], int] = run.main,
    begins: str | tuple[str, ...] = "run.py: ",
) -> str:
    """What the command says of these words."""
    try:
        code = command([*words])
    except SystemExit as end:
        code = int(str(end.code))
    said = capsys.readouterr().err.strip().splitlines()
    assert (code, len(said)) == (2, 1), said
    assert said[0].startswith(begins), said
    return said[0]
