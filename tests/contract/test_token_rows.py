"""Tokens of rows that are trained on without rollouts, with tokenizers of others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from data_prep.prompt_styles import PLAIN_TEMPLATE
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.trl_plugin.rows import encoder, example
from recipes.verl_plugin.sft_dataset import SolutionDataset
from tests.helpers.token_seams import ANSWER, END, KINDS, messages, template
from tests.helpers.tokenizers_of_others import EMBEDDED, THINKING, saved, tokenizer
from tests.helpers.verl_configs import FILES, RUN

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["", END])
def test_supervised_rows(kind: str, end: str, tmp_path: Path) -> None:
    made = tokenizer(kind)
    rows = [
        {"prompt": messages(kind, f"Is it {END}?"), "answer": answer} for answer in (ANSWER + end, "<think> " + ANSWER)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    config = OmegaConf.create(
        {"apply_chat_template_kwargs": {"chat_template": template(kind, made)}, "max_length": 2000}
    )
    data = SolutionDataset(str(tmp_path / "train.parquet"), made, config)
    for sample in (data[0], data[1]):
        ids, mask = sample["input_ids"], sample["loss_mask"].bool()
        asked, taught = made.decode(ids[~mask]), made.decode(ids[mask])
        assert f"Is it {END}?" in asked
        assert made.eos_token_id not in ids[~mask].tolist()
        assert taught == ANSWER + END
        assert ids[mask].tolist().count(made.eos_token_id) == 1


THOUGHT = "<think>\nhm\n</think>\n\n1 is above 0."


@pytest.mark.parametrize("method", ["dpo", "sft", "kto"])
@pytest.mark.parametrize("kind", ["thinking", "thinking_tags"])
def test_alignment_rows_have_one_thought_and_one_end(kind: str, method: str) -> None:
    made = tokenizer(kind)
    plan: Any = SimpleNamespace(prompt_style="chat", model="m", method=method, pairwise=method == "dpo")
    asked = [{"role": "user", "content": f"Is 1 above {END}?"}]
    item = {"prompt": asked, "chosen": THOUGHT + END, "rejected": "1 is above 0.", "completion": THOUGHT, "score": 1.0}
    row = example(plan, item, encoder(plan, made))
    ids = row["input_ids"] if method == "sft" else row["prompt_ids"] + row.get("chosen_ids", row.get("completion_ids"))
    before = "<|im_start|>user\nIs 1 above <|endoftext|>?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert made.decode(ids) == before + "hm\n</think>\n\n1 is above 0." + END
    assert ids.count(made.eos_token_id) == 1
    if method == "dpo":
        assert made.decode(row["rejected_ids"]) == "\n</think>\n\n1 is above 0." + END


@pytest.mark.parametrize("kind", ["plain", "tags", "appends"])
def test_alignment_rows_in_plain_text(kind: str) -> None:
    made = tokenizer(kind)
    plan: Any = SimpleNamespace(prompt_style="completion", model="m")
    prompt, completion = encoder(plan, made)([{"role": "user", "content": f"Say {END}\n"}], f"1 + 2{END}")
    assert made.decode(prompt).startswith(f"Say {END}\n")
    assert completion == [*tokenizer("plain")("1 + 2", add_special_tokens=False)["input_ids"], 0]


@pytest.mark.parametrize("kind", ["chat", "thinking"])
def test_a_stage_renders_with_one_thought(kind: str, tmp_path: Path) -> None:
    import yaml

    from recipes.verl_plugin.compose import CONFIG_FILE, load_config

    model = saved(kind, tmp_path / "model", eos_token_id=0)
    (model / "config.json").write_text((EMBEDDED / "config.json").read_text())
    flags = {"algo": "sft", "data": "countdown", "model": str(model), "prompt_style": "chat"}
    from recipes.verl_plugin.verl_config import sft_config

    experiment = build_experiment(flags, PROFILES["cpu"])
    values = sft_config(experiment, run=RUN, model=str(model), resume_from=None, **FILES)
    (tmp_path / CONFIG_FILE).write_text(
        yaml.safe_dump(values | {"data": {**values["data"], "train_files": "a", "val_files": "b"}})
    )
    found = load_config("sft_trainer_engine", tmp_path, []).data.apply_chat_template_kwargs.chat_template
    text = tokenizer(kind).apply_chat_template(
        [{"role": "user", "content": "Q"}], chat_template=found, add_generation_prompt=True, tokenize=False
    )
    assert text.count("<think>") == 1
    assert text.endswith("<think>\n" if kind == "thinking" else "<think> ")
    assert (found == THINKING) == (kind == "thinking")
    assert PLAIN_TEMPLATE not in found


def test_a_chat_style_without_a_template_is_refused_as_ever(tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(prompt_style="chat", model="m")
    made = tokenizer("plain")
    made.chat_template = None
    with pytest.raises(ExperimentError, match="no chat template"):
        encoder(plan, made)
