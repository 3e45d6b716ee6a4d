"""Metrics of offline alignment against numbers worked out by hand."""

import math
from pathlib import Path

import pytest
import torch

from data_prep.preference.schema import write_rows
from recipes.trl_plugin.measure import Scores, kl_to_ref, pair_metrics, row_metrics, validation_metrics
from recipes.trl_plugin.rows import HeldOut, load_held_out
from tests.helpers.alignment_checks import plan, small_rows

LOG3 = math.log(3)


def test_pairs() -> None:
    found = pair_metrics(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.25]))
    assert found == pytest.approx(
        {"rewards/chosen": 0.5, "rewards/rejected": 0.375, "rewards/margin": 0.125, "rewards/accuracy": 0.5}
    )


def test_untrained_policy_is_right_half_of_the_time() -> None:
    none = torch.zeros(4)
    assert pair_metrics(none, none)["rewards/accuracy"] == 0.5
    assert row_metrics(none, torch.tensor([1.0, 0.0, 0.0, 0.0]))["rewards/accuracy"] == 0.5


def test_rows() -> None:
    # sigmoid: 3/4, 1/4, 1/2; off by -1/4, 0, 1/2
    found = row_metrics(torch.tensor([LOG3, -LOG3, 0.0]), torch.tensor([1.0, 0.25, 0.0]))
    assert found == pytest.approx(
        {
            "rewards/accuracy": 2.5 / 3,
            "rewards/good": LOG3,
            "rewards/bad": -LOG3 / 2,
            "rewards/margin": 1.5 * LOG3,
            "calibration/mse": (1 / 16 + 1 / 4) / 3,
            "calibration/bias": 1 / 12,
        },
        abs=1e-6,
    )


def test_margin_of_rows_needs_good_and_bad() -> None:
    found = row_metrics(torch.tensor([1.0]), torch.tensor([1.0]))
    assert not {"rewards/bad", "rewards/margin"} & set(found)


def test_distance_is_per_token() -> None:
    scores = Scores(torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -4.0]), torch.tensor([2.0, 10.0]))
    assert kl_to_ref(scores) == pytest.approx(3 / 12)


def test_validation_of_una(tmp_path: Path) -> None:
    """beta 1; three completions and one instruction that is no part of the rewards."""
    settings = plan(tmp_path, tmp_path, "una", alignment={"beta": 1.0})
    rows = HeldOut(pairs=[(0, 1)], scored=[(0, 1.0), (1, 0.25), (2, 0.0)], instructions=[3], completions=[])
    policy = torch.tensor([-1.0, -1.0 - LOG3, -3.0, -6.0])
    reference = torch.tensor([-1.0 - LOG3, -1.0, -3.0, -1.0])
    found = validation_metrics(settings, rows, Scores(policy, reference, torch.tensor([4.0, 4.0, 2.0, 3.0])))
    assert found["val/pairs/margin"] == pytest.approx(2 * LOG3)
    assert found["val/pairs/accuracy"] == 1.0
    assert found["val/rewards/good"] == pytest.approx(LOG3)
    assert found["val/loss"] == pytest.approx((1 / 16 + 1 / 4) / 3)
    assert found["val/kl_to_ref"] == pytest.approx(0.0, abs=1e-7)
    assert found["val/instruction_nll"] == pytest.approx(2.0)


def test_validation_sets_have_figures_of_their_own(tmp_path: Path) -> None:
    """Two sets of a pair each: of one the better answer has the higher reward, of the other the worse one."""
    settings = plan(tmp_path, tmp_path, "dpo", alignment={"beta": 1.0})
    sets = {name: HeldOut([pair], [], [], []) for name, pair in (("easy", (0, 1)), ("hard", (2, 3)))}
    rows = HeldOut([(0, 1), (2, 3)], [], [], [], sets)
    policy = torch.tensor([0.0, -2.0, -3.0, -1.0])
    found = validation_metrics(settings, rows, Scores(policy, torch.zeros(4), torch.ones(4)))
    names = ("val/rewards/accuracy", "val/easy/rewards/accuracy", "val/hard/rewards/accuracy")
    assert [found[name] for name in names] == [0.5, 1.0, 0.0]
    assert found["val/easy/rewards/margin"] == pytest.approx(2.0)


def test_a_test_file_of_several_sets_is_read_as_such(tmp_path: Path) -> None:
    """Each set is cut to val_size by itself; they share the completions."""
    rows = [{**row, "data_source": f"test@{'a' if n % 8 < 4 else 'b'}"} for n, row in enumerate(small_rows("test", 4))]
    write_rows(tmp_path / "test.parquet", rows)
    settings = plan(tmp_path, tmp_path, "una", val_size=1)
    held = load_held_out(settings, lambda prompt, text: ([len(prompt[0]["content"])], [ord(c) for c in text]))
    assert set(held.sets) == {"a", "b"}
    assert [len(of.instructions) for of in (held, *held.sets.values())] == [1, 1, 1]
    used = {at for of in held.sets.values() for pair in of.pairs for at in pair}
    assert len(used) == 4
    assert max(used) < len(held.completions)
