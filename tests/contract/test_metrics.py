"""uft/*, reward/* and val/acc from the fields a batch carries, and the digest of its texts."""

import inspect
from typing import Any

import pytest

from recipes.verl_plugin.metrics import hint_metrics, reward_metrics, without_gradient, without_variance
from recipes.verl_plugin.rollout_log import digest
from recipes.verl_plugin.validation import answer_means, validation_accuracy

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
            "uft/generated": 100.0,
            "uft/gen_tokens": 25.0,
            "uft/truncated": 0.25,
            "uft/score/l=0": 0.2,
            "uft/score/l=2": 0.5,
        }
    )
    assert hint_metrics([], []) == {}


def test_hint_metrics_go_by_the_hint_that_was_given() -> None:
    """Planned were 4 of 4 segments; of the first 3 fitted, of the second 1, of the third none."""
    planned = [record(4, tokens, 30) for tokens in (10, 4, 0)]
    found = hint_metrics(
        [{**one, "given": given} for one, given in zip(planned, (0.75, 0.25, 0.0), strict=True)], [1.0, 0.5, 0.1]
    )
    assert found["uft/hint_frac"] == pytest.approx(1 / 3)
    scores = {name: value for name, value in found.items() if "score" in name}
    assert scores == {"uft/score/l=0": 0.1, "uft/score/l=1": 0.5, "uft/score/l=3": 1.0}
    # A hint shorter than half a segment is still a hint.
    assert "uft/score/l=1" in hint_metrics([{**record(1, 2, 9), "given": 0.05}], [1.0])


def test_groups_without_variance_are_those_that_nothing_can_be_learned_from() -> None:
    keys = ["1-0_0_0", "1-0_1_0", "1-1_0_0", "1-1_1_0", "1-2_0_0", "1-2_1_0", "1-3_0_0", "1-3_1_0"]
    # All right; one of two; one verdict failed, which leaves one; both failed.
    assert without_variance(keys, [1.0, 1.0, 0.1, 1.0, 0.1, None, None, None]) == 0.75
    assert without_variance(keys[2:4], [0.1, 1.0]) == 0.0
    assert without_variance([], []) == 0.0


def test_updates_without_a_reward_gradient() -> None:
    yes, no = True, False
    assert without_gradient([no, no, yes, no], updates=2, ranks=1) == 0.5
    assert without_gradient([no, no, no, no], updates=2, ranks=1) == 1.0
    assert without_gradient([no] * 4, updates=1, ranks=2) == 1.0
    assert without_gradient([no, no, no, yes], updates=1, ranks=1) == 0.0
    # Two ranks: rows 0 to 3 and 4 to 7, each cut in two; the first update is rows 0, 1 and 4, 5.
    assert without_gradient([no, no, yes, yes, no, no, no, no], updates=2, ranks=2) == 0.5
    assert without_gradient([no, no, no, no, yes, no, no, yes], updates=2, ranks=2) == 0.0


def test_verl_cuts_a_rank_s_rows_into_updates_in_their_order() -> None:
    import torch
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    rows = TensorDict({"row": torch.arange(8)}, batch_size=8)
    cut = [each["row"].tolist() for each in tu.make_iterator(rows, 4, epochs=1, dataloader_kwargs={"shuffle": False})]
    assert cut == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_reward_rates_skip_what_a_reward_function_does_not_report_and_verdicts_that_failed() -> None:
    infos: list[dict[str, Any]] = [{"acc": 1.0, "reward_error": 0.0, "pred": "x"}, {"acc": 0.0, "reward_error": 1.0}]
    assert reward_metrics(infos) == {"reward/acc": 1.0, "reward/reward_error_rate": 0.5}
    assert reward_metrics(infos[1:]) == {"reward/reward_error_rate": 1.0}


SOURCES = ["countdown"] * 4 + ["openai/gsm8k"] * 2
UIDS = ["a", "a", "b", "b", "c", "d"]
ACC = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
ASKED = {("countdown", "a"): 2, ("countdown", "b"): 2, ("openai/gsm8k", "c"): 1, ("openai/gsm8k", "d"): 1}


def test_validation_accuracy_is_pass_at_one_averaged_over_problems_and_then_over_sources() -> None:
    found = validation_accuracy(SOURCES, UIDS, {"acc": ACC}, ASKED)
    means = {"val/acc": 0.375, "val/acc/countdown": 0.25, "val/acc/openai/gsm8k": 0.5}
    assert found == pytest.approx({**means, "val/answers": 6, "val/failed": 0})
    assert validation_accuracy(SOURCES, UIDS, {"reward": ACC}, ASKED) == {}


def test_of_several_answers_validation_also_says_how_often_one_of_k_is_right() -> None:
    """1 and 4 of 4 right: 1 - C(3, 2) / C(4, 2) = 1/2 of the pairs of the first hold a right one."""
    uids, asked = [*"aaaabbbb"], {("countdown", "a"): 4, ("countdown", "b"): 4}
    acc = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    found = validation_accuracy(["countdown"] * 8, uids, {"acc": acc}, asked)
    means = {"val/acc": 0.625, "val/acc/countdown": 0.625, "val/pass@2": 0.75, "val/pass@4": 1.0}
    assert found == pytest.approx({**means, "val/answers": 8, "val/failed": 0})
    graded = validation_accuracy(["countdown"] * 8, uids, {"acc": [value / 2 for value in acc]}, asked)
    assert not any("pass@" in name for name in graded), "a half verdict is no success"


def test_the_means_of_several_answers_are_verls() -> None:
    from verl.trainer.ppo.metric_utils import process_validation_metrics

    sources, uids = ["countdown"] * 4 + ["chain"] * 4, [*"aabbccdd"]
    infos: dict[str, list[Any]] = {
        "score": [0.1, 1.0, 0.0, 0.1, 1.0, 1.0, 0.1, 0.0],
        "partial": [None, None, None, None, 0.5, 0.25, 1.0, 1.0],
        "pred": ["3", "4", None, "5", "6", "6", "7", "8"],
    }
    theirs = process_validation_metrics(sources, uids, infos)
    expected = {
        f"val-aux/{source}/{name}/mean@2": each["mean@2"]
        for source, by_name in theirs.items()
        for name, each in by_name.items()
    }
    assert len(expected) == 3
    assert answer_means(sources, uids, infos) == pytest.approx(expected)
    slow = "bootstrap_metric(" in inspect.getsource(process_validation_metrics)
    assert slow, "verl draws no bootstrap any more: drop answer_means, and let trainer.py call verl's own"


def test_a_verdict_that_failed_has_no_vote_in_validation() -> None:
    """Of a the wrong answer failed, of b one of two wrong ones, of d the only one, which verl counts as a 0."""
    infos: dict[str, list[Any]] = {"acc": ACC, "timeout": [0, 1.0, 1.0, 0, 0, 0], "reward_error": [None] * 5 + [1.0]}
    found = validation_accuracy(SOURCES, UIDS, infos, ASKED)
    means = {"val/acc": (0.5 + 1.0) / 2, "val/acc/countdown": (1.0 + 0.0) / 2, "val/acc/openai/gsm8k": 1.0}
    assert found == pytest.approx({**means, "val/answers": 3, "val/failed": 3})
    nothing = validation_accuracy(
        SOURCES[:2], UIDS[:2], {"acc": ACC[:2], "timeout": [1.0, 1.0]}, {("countdown", "a"): 2}
    )
    assert nothing == {"val/answers": 0, "val/failed": 2}


def test_an_answer_that_never_came_is_wrong_as_in_verl() -> None:
    found = validation_accuracy(SOURCES[:1], UIDS[:1], {"acc": [1.0]}, {("countdown", "a"): 2, ("countdown", "e"): 1})
    assert found == pytest.approx({"val/acc": 0.25, "val/acc/countdown": 0.25, "val/answers": 3, "val/failed": 0})


def test_without_failures_it_is_verls_own_figure() -> None:
    from verl.trainer.ppo.metric_utils import process_validation_metrics

    theirs = process_validation_metrics(SOURCES, UIDS, {"acc": list(ACC)}, expected_acc_counts=dict(ASKED))
    ours = validation_accuracy(SOURCES, UIDS, {"acc": ACC}, ASKED)
    assert ours["val/acc/countdown"] == theirs["countdown"]["acc"]["mean@2"]
    assert ours["val/acc/openai/gsm8k"] == theirs["openai/gsm8k"]["acc"]["mean@1"]


def test_a_mismatch_of_engine_and_trainer_is_said_from_one_in_a_hundred_on() -> None:
    from verl.utils.debug import metrics as verls

    from recipes.verl_plugin.mismatch import MEAN_DIFFERENCE, mismatch

    assert f'"{MEAN_DIFFERENCE}"' in inspect.getsource(verls.calculate_debug_metrics)
    assert mismatch({}) is mismatch({MEAN_DIFFERENCE: 0.0065}) is mismatch({MEAN_DIFFERENCE: float("nan")}) is None
    assert "differ by 0.034 on average" in str(mismatch({MEAN_DIFFERENCE: 0.034}))
    assert "--rollout_correction token" in str(mismatch({MEAN_DIFFERENCE: 0.034}))


def test_stale_weights_end_the_run() -> None:
    from recipes.verl_plugin.mismatch import MEAN_DIFFERENCE, StaleWeights, refuse_stale

    for found in ({}, {MEAN_DIFFERENCE: 0.034}, {MEAN_DIFFERENCE: float("nan")}):
        refuse_stale(found)
    with pytest.raises(StaleWeights, match=r"differ by 0\.21 on average.*--rollout_correction token"):
        refuse_stale({MEAN_DIFFERENCE: 0.21})


def test_the_digest_changes_with_any_token_and_with_order() -> None:
    base = digest([[1, 2], [3]])
    assert base == digest([[1, 2], [3]])
    assert len({base, digest([[3], [1, 2]]), digest([[1, 2, 3]]), digest([[1, 2], [4]]), digest([[1], [2, 3]])}) == 5
