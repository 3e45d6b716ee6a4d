"""What verl saves of a policy with adapters, and what is published of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.common.run_dir import RunDir, mark_complete, write_json
from recipes.common.training_record import TRAINING_RECORD
from recipes.verl_plugin.export import finish_export
from tests import ROOT
from tests.e2e.support import tiny_model

pytestmark = pytest.mark.contract

IDS = torch.tensor([[3, 1, 4, 1, 5, 9]])
RECORD = {"prompt_style": "chat"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_model(tmp_path_factory.mktemp("base") / "model")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "dtype": "bfloat16"})
    return folder


def saved_by_verl(base: Path, checkpoint: Path, *, rank: int) -> torch.Tensor:
    """A checkpoint as FSDPCheckpointManager leaves it; returns the logits of what was trained."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = model.config
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=3 * rank, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_" in name or "down_proj" in name):
            torch.nn.init.normal_(parameter, std=0.1)
    state = model.state_dict()
    for name in [name for name in state if name.endswith("lm_head.weight")]:
        del state[name]  # tied: verl's drop_tied_target_keys
    config.dtype = torch.bfloat16
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(
        checkpoint / "huggingface", state_dict=state
    )
    AutoTokenizer.from_pretrained(base, pad_token="3").save_pretrained(checkpoint / "huggingface")
    if rank:
        write_json(checkpoint / "lora_train_meta.json", {"r": rank, "lora_alpha": 3 * rank, "task_type": "CAUSAL_LM"})
    return model(IDS).logits.detach()


@pytest.mark.parametrize("rank", [0, 4])
def test_half_precision_is_half_as_large_and_the_trained_weights_rounded(rank: int, base: Path, tmp_path: Path) -> None:
    saved_by_verl(base, tmp_path / "half", rank=rank)
    shutil.copytree(tmp_path / "half", tmp_path / "whole")
    finish_export(tmp_path / "half", str(base), RECORD, "bfloat16")
    finish_export(tmp_path / "whole", str(base), RECORD)
    places = [tmp_path / name / "huggingface" for name in ("half", "whole")]
    rounded, whole = (AutoModelForCausalLM.from_pretrained(each) for each in places)
    assert (rounded.dtype, whole.dtype) == (torch.bfloat16, torch.float32)
    for name, value in whole.state_dict().items():
        assert torch.equal(rounded.state_dict()[name], value.bfloat16()), name
    half, full = (sum(file.stat().st_size for file in place.glob("*.safetensors")) for place in places)
    assert half == pytest.approx(full / 2, rel=0.05)


@pytest.mark.parametrize("rank", [0, 4])
def test_weights_read_back_are_those_that_were_trained(rank: int, base: Path, tmp_path: Path) -> None:
    expected = saved_by_verl(base, tmp_path, rank=rank)
    finish_export(tmp_path, str(base), RECORD)
    weights = AutoModelForCausalLM.from_pretrained(tmp_path / "huggingface")
    assert weights.dtype == torch.float32
    assert torch.allclose(weights(IDS).logits, expected, atol=1e-4)
    assert json.loads((tmp_path / "huggingface" / TRAINING_RECORD).read_text()) == RECORD
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "huggingface" / name).read_bytes() == (base / name).read_bytes()
    assert (tmp_path / "adapter").exists() == bool(rank)
    if rank:
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        adapted = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
        assert torch.allclose(adapted(IDS).logits, expected, atol=1e-4)


def test_an_adapter_is_published_beside_the_weights(base: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    checkpoint = run.checkpoints / "global_step_2"
    saved_by_verl(base, checkpoint / "actor", rank=4)
    finish_export(checkpoint / "actor", str(base), RECORD)
    mark_complete(checkpoint, 2)
    run.republish()
    assert (run.hf / "adapter/adapter_config.json").exists()
    names = AutoModelForCausalLM.from_pretrained(run.hf / "last", output_loading_info=True)[1]
    assert not names["missing_keys"]
    assert not names["unexpected_keys"]


def test_verl_still_notes_rank_and_alpha_where_we_look() -> None:
    import inspect

    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    from recipes.verl_plugin.export import LORA_META

    source = inspect.getsource(FSDPCheckpointManager)
    assert f'"{LORA_META}"' in source
    assert 'return {"r": lora_rank, "lora_alpha": lora_alpha' in source
    assert 'os.path.join(local_path, "huggingface")' in source


@pytest.mark.parametrize(("vocabulary", "mib"), [(1_300, 1), (49_152, 12)])
def test_the_buffer_of_the_weights_follows_the_largest_of_them(vocabulary: int, mib: int, tmp_path: Path) -> None:
    from recipes.verl_plugin.compose import largest_weight_mib

    config = json.loads((ROOT / "models/tiny-countdown/config.json").read_text())
    write_json(tmp_path / "config.json", {**config, "vocab_size": vocabulary, "hidden_size": 64})
    assert largest_weight_mib(str(tmp_path)) == mib
