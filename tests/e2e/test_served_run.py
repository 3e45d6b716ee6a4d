"""A run by a server that has made others before, beside one with a start of its own (more in test_serve.py)."""

from pathlib import Path

import pytest

from tests.e2e.support import UFT, expect_same_run, run

pytestmark = pytest.mark.e2e


def test_a_served_run_is_one_with_a_start_of_its_own_to_the_digit(
    tmp_path: Path, small_data: Path, serve: dict[str, str], uft_run: Path
) -> None:
    run(tmp_path / "run", *UFT, "--data", str(small_data), env=serve)
    expect_same_run(tmp_path / "run", uft_run)
