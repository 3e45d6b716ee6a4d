"""What checkpoints take of the disk: estimated, said and refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from recipes.common.errors import ExperimentError
from recipes.estimate.machine_needs import checkpoint_bytes, describe_disk, disk_bytes
from recipes.estimate.memory import GB
from recipes.estimate.model_shapes import SHAPES, known_shape
from recipes.run import place
from tests import ROOT
from tests.helpers.estimates import PAIRS, on


@pytest.mark.parametrize(
    ("model", "flags", "each", "whole"),
    [
        # 16 bytes per parameter, twice and once more while one is written, and hf/best.
        ("Qwen/Qwen2.5-1.5B", {}, 16, 52),
        ("Qwen/Qwen2.5-7B", {"keep_checkpoints": 1}, 16, 36),
        ("Qwen/Qwen2.5-7B", {"hf_dtype": "bfloat16"}, 14, 44),
        ("Qwen/Qwen2.5-1.5B", {"algo": "sft_rft"}, 16, 104),
    ],
)
def test_checkpoints_take_what_is_in_them(model: str, flags: dict[str, object], each: int, whole: int) -> None:
    e, shape = on("1x80gb", model=model, **flags), known_shape(model)
    assert shape is not None
    assert checkpoint_bytes(e) == each * shape.parameters
    assert disk_bytes(e) == whole * shape.parameters
    assert f"up to {disk_bytes(e) / GB:.0f} GB" in str(describe_disk(e))


def test_a_checkpoint_of_adapters_has_their_moments_alone(packed: None) -> None:
    e, shape = on("1x24gb"), SHAPES["Qwen2.5-1.5B"]
    assert checkpoint_bytes(e) == 8 * shape.parameters + 12 * shape.lora_parameters(32)


def test_of_small_and_unknown_models_nothing_is_said() -> None:
    assert describe_disk(on("cpu", model=str(ROOT / "models/tiny-countdown"))) is None
    assert disk_bytes(on("1x80gb", model="owner/new-model-9B")) == 0


@pytest.mark.parametrize(("rank", "profile"), [(0, "h100x8"), (32, "1x80gb")])
def test_a_training_on_answers_says_what_it_takes_of_the_disk(rank: int, profile: str) -> None:
    """TRL's checkpoints hold what is trained and its moments; hf/last is whole, as it is computed with."""
    e, shape = on(profile, **PAIRS, model="Qwen/Qwen2.5-7B", lora_rank=rank), SHAPES["Qwen2.5-7B"]
    each = 12 * (shape.lora_parameters(rank) if rank else shape.parameters)
    assert checkpoint_bytes(e) == each
    assert disk_bytes(e) == 3 * each + 2 * shape.parameters
    assert f"up to {disk_bytes(e) / GB:.0f} GB" in str(describe_disk(e))
    assert str(describe_disk(e)).endswith("and hf/last")
    assert " 0 GB" not in str(describe_disk(e))
    assert "checkpoints of 443 MB" in str(describe_disk(on("1x24gb", **PAIRS)))


def test_a_disk_that_checkpoints_will_not_fit_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = on("1x80gb", model="Qwen/Qwen2.5-7B")
    monkeypatch.setattr(place.shutil, "disk_usage", lambda _: SimpleNamespace(free=int(300 * GB)))
    with pytest.raises(
        ExperimentError,
        match=r"300 GB are free there.*up to 396 GB \(122 GB each.*disk; with --keep_checkpoints 1 they take 274 GB$",
    ):
        place.refuse_small_disk(e, tmp_path)
    pairs = on("h100x8", **PAIRS, model="Qwen/Qwen2.5-7B", keep_checkpoints=3)
    with pytest.raises(ExperimentError, match=r"up to 381 GB .*; with --keep_checkpoints 2 they take 289 GB$"):
        place.refuse_small_disk(pairs, tmp_path)
    # What an interrupted run left makes room for what replaces it.
    with (tmp_path / "old").open("wb") as file:
        file.truncate(int(97 * GB))
    place.refuse_small_disk(e, tmp_path)
