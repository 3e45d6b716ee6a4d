"""uft/*, reward/* and val/acc from the fields a batch carries, and the digest of its texts."""

import pytest

from recipes.verl_plugin.metrics import hint_metrics, reward_metrics, validation_accuracy
from recipes.verl_plugin.rollout_log import digest

pytestmark = pytest.mark.contract


def record(length: int, hint_tokens: int, gen_tokens: int, n_segments: int = 4, truncated: int = 0) -> dict[str, int]:
    return {
        "length": length,
        "n_segments": n_segments,
        "hint_tokens": hint_tokens,
        "gen_tokens": gen_tokens,
        "truncated": truncated,
    }


def test_hint_metrics_are_means_and_scores_by_length() -> None:
    records = [record(2, 10, 30), record(0, 0, 50, truncated=1), record(2, 12, 20), record(0, 0, 0, n_segments=0)]
    found = hint_metrics(records, [1.0, 0.1, 0.0, 0.3])
    assert found == pytest.approx(
        {
            "uft/hint_frac": 0.25,
            "uft/hint_tokens": 5.5,
            "uft/gen_tokens": 25.0,
            "uft/truncated": 0.25,
            "uft/score/l=0": 0.2,
            "uft/score/l=2": 0.5,
        }
    )
    assert hint_metrics([], []) == {}


def test_reward_rates_skip_what_a_reward_function_does_not_report() -> None:
    infos = [{"acc": 1.0, "reward_error": 0.0, "pred": "x"}, {"acc": 0.0, "reward_error": 1.0}]
    assert reward_metrics(infos) == {"reward/acc": 0.5, "reward/reward_error_rate": 0.5}


def test_validation_accuracy_is_pass_at_one_averaged_over_sources() -> None:
    found = validation_accuracy(
        {
            "val-core/countdown/acc/mean@1": 0.4,
            "val-core/openai/gsm8k/acc/mean@1": 0.8,
            "val-core/countdown/acc/best@4/mean": 0.9,
            "val-aux/countdown/score/mean@1": 0.1,
        }
    )
    assert found == pytest.approx({"val/acc": 0.6, "val/acc/countdown": 0.4, "val/acc/openai/gsm8k": 0.8})
    assert validation_accuracy({"val-core/x/reward/mean@1": 1.0}) == {}


def test_the_digest_changes_with_any_token_and_with_order() -> None:
    base = digest([[1, 2], [3]])
    assert base == digest([[1, 2], [3]])
    assert len({base, digest([[3], [1, 2]]), digest([[1, 2, 3]]), digest([[1, 2], [4]]), digest([[1], [2, 3]])}) == 5
