"""How questions are put to a model that has been trained: as it was trained, whatever its folder is called."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.prompt_styles import ASSISTANT_STARTS, PLAIN_TEMPLATE, STYLES
from recipes.common.run_dir import RunDir, write_json
from recipes.common.training_record import TRAINING_RECORD, model_name, read_record
from recipes.flags.resolve import build_experiment, default_prompt_style
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import to_yaml, training_record
from recipes.settings.tasks import TASKS
from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config, sft_config
from tests import ROOT

COUNTDOWN = TASKS["countdown"]
RECORD = {
    "algo": "uft",
    "data": "countdown",
    "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "prompt_style": "chat",
    "max_prompt_length": 256,
    "max_response_length": 48,
}


@pytest.mark.parametrize(
    ("model", "style"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "chat"),
        ("Qwen/Qwen2.5-1.5B", "completion"),
        ("google/gemma-2-2b-it", "chat"),
        ("/cache/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/0a1b2c3d", "chat"),
        ("/cache/models--Qwen--Qwen2.5-1.5B/snapshots/0a1b2c3d", "completion"),
    ],
)
def test_of_a_model_that_is_not_here_the_name_decides_also_in_a_hub_cache(model: str, style: str) -> None:
    assert default_prompt_style(model, COUNTDOWN, "problems") == style


CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
NAMED = "{% for m in messages %}[INST]{{ m['content'] }}{{ eos_token }}{% endfor %}"
GEMMA = "{% for m in messages %}<start_of_turn>{{ m['content'] }}<end_of_turn>{% endfor %}"
SEVERAL = [{"name": "default", "template": CHATML}]
OF_GEMMA = {"eos_token": "<eos>", "added_tokens_decoder": {"106": {"content": "<end_of_turn>"}}}


@pytest.mark.parametrize(
    ("tokenizer", "generation", "style"),
    [
        pytest.param({"chat_template": CHATML, "eos_token": "<|im_end|>"}, {}, "chat", id="Qwen2.5-Instruct"),
        pytest.param({"chat_template": CHATML, "eos_token": "<|endoftext|>"}, {}, "completion", id="Qwen2.5"),
        pytest.param({"chat_template": NAMED, "eos_token": {"content": "</s>"}}, {}, "chat", id="Mistral-Instruct"),
        pytest.param({"eos_token": "<|end_of_text|>"}, {"eos_token_id": [128001]}, "completion", id="Llama-3.2"),
        pytest.param({"chat_template": GEMMA, **OF_GEMMA}, {"eos_token_id": [1, 106]}, "chat", id="gemma-it"),
        pytest.param({**OF_GEMMA}, {"eos_token_id": 1}, "completion", id="gemma"),
        pytest.param({"chat_template": SEVERAL, "eos_token": "<|im_end|>"}, {}, "chat", id="named"),
    ],
)
@pytest.mark.parametrize("folder", ["Model-Instruct", "last"])
def test_a_model_that_is_here_says_by_its_tokenizer_whether_it_was_tuned_on_conversations(
    tokenizer: dict[str, Any], generation: dict[str, Any], style: str, folder: str, tmp_path: Path
) -> None:
    """Whatever the folder is called."""
    write_json(tmp_path / folder / "tokenizer_config.json", tokenizer)
    write_json(tmp_path / folder / "generation_config.json", generation)
    assert default_prompt_style(str(tmp_path / folder), COUNTDOWN, "problems") == style


def test_a_template_in_a_file_of_its_own(tmp_path: Path) -> None:
    write_json(tmp_path / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    assert default_prompt_style(str(tmp_path), COUNTDOWN, "problems") == "completion"
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    assert default_prompt_style(str(tmp_path), COUNTDOWN, "problems") == "chat"


def test_the_embedded_models_are_asked_in_plain_text() -> None:
    for name in ("tiny-countdown", "tiny-chain-q40", "tiny-chain-q75"):
        assert default_prompt_style(f"models/{name}", COUNTDOWN, "problems") == "completion"


def test_a_folder_called_last_says_by_its_record_how_it_was_trained(tmp_path: Path) -> None:
    last = tmp_path / "hf/last"
    assert default_prompt_style(str(last), COUNTDOWN, "problems") == "completion"
    write_json(last / TRAINING_RECORD, RECORD)
    assert default_prompt_style(str(last), COUNTDOWN, "problems") == "chat"
    # Whose reward does not read that style, goes by the name.
    write_json(last / TRAINING_RECORD, {**RECORD, "prompt_style": "qwen_math"})
    assert default_prompt_style(str(last), COUNTDOWN, "problems") == "completion"


@pytest.mark.parametrize("place", ["hf/best", "checkpoints/global_step_2/actor/huggingface", "hf/adapter"])
def test_a_run_from_before_there_were_records_says_it_by_its_experiment(place: str, tmp_path: Path) -> None:
    experiment = build_experiment({"prompt_style": "r1", "data": "countdown"}, PROFILES["cpu"])
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / "experiment.yaml").write_text(to_yaml(experiment))
    found = read_record(tmp_path / place)
    assert found is not None
    assert found == (training_record(experiment), tmp_path / "experiment.yaml")


@pytest.mark.parametrize("text", ["{}", '{"prompt_style": "chat"}'])
def test_a_record_of_another_kind_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING_RECORD).write_text(text)
    assert read_record(tmp_path) is None


def test_the_name_of_a_model() -> None:
    assert model_name("a/hub/models--Qwen--Qwen2.5-0.5B-Instruct/snapshots/12ab") == "Qwen2.5-0.5B-Instruct"
    assert model_name("Qwen/Qwen2.5-0.5B") == "Qwen2.5-0.5B"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("algo", ["uft", "sft"])
def test_a_template_is_given_to_each_call_and_never_to_the_tokenizer_that_is_saved(algo: str, style: str) -> None:
    data = "math" if STYLES[style].answer_format == "boxed" else "countdown"
    experiment = build_experiment({"algo": algo, "prompt_style": style, "data": data}, PROFILES["cpu"])
    files = {"train_file": Path("a"), "test_file": Path("b"), "resume_from": None}
    make = rl_config if algo == "uft" else sft_config
    config = make(experiment, run=RunDir(Path("run")), model="models/tiny-countdown", **files)
    model = config["actor_rollout_ref"]["model"] if algo == "uft" else config["model"]
    assert model.get("custom_chat_template") is None
    given = config["data"]["apply_chat_template_kwargs"]["chat_template"]
    assert given == (None if STYLES[style].chat else PLAIN_TEMPLATE)
    assert config["uft"]["record"]["prompt_style"] == style


def test_the_chat_style_puts_its_beginning_once_however_often_the_model_was_trained(tmp_path: Path) -> None:
    """The template in a published folder is the model's own, so that the next stage adds to that one."""
    from recipes.verl_plugin.compose import load_config
    from tests.e2e.support import CHAT_TEMPLATE

    model = tmp_path / "hf/last"
    model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((ROOT / "models/tiny-countdown" / name).read_bytes())
    (model / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    experiment = build_experiment({"prompt_style": "chat", "model": str(model)}, PROFILES["cpu"])
    files = {"train_file": Path("a"), "test_file": Path("b"), "resume_from": None}
    config = rl_config(experiment, run=RunDir(tmp_path), model=str(model), **files)
    (tmp_path / "verl.yaml").write_text(json.dumps(config))
    template = load_config(REINFORCEMENT, tmp_path, []).data.apply_chat_template_kwargs.chat_template
    assert template.startswith(CHAT_TEMPLATE)
    assert template.count(repr(ASSISTANT_STARTS)) == 1


def test_of_several_chat_templates_the_default_one_is_used() -> None:
    style = STYLES["chat"]
    assert style.template({"default": "d", "tool_use": "t"}) == style.template("d")
    with pytest.raises(ValueError, match="no chat template"):
        style.template({"tool_use": "t"})


def test_a_published_folder_keeps_every_small_file_of_the_models(tmp_path: Path) -> None:
    from recipes.settings.own_files import keep_own_files

    base, weights = tmp_path / "base", tmp_path / "weights"
    own = ("tokenizer.json", "spiece.model", "tekken.json", "chat_template.jinja", "modeling_mine.py")
    for name in (*own, "additional_chat_templates/tool_use.jinja", "config.json", "model.safetensors"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(f"the base model's {name}")
    weights.mkdir()
    written = ("config.json", "model.safetensors", "model.safetensors.index.json", "generation_config.json")
    for name in (*written, "tokenizer.json", "special_tokens_map.json"):
        (weights / name).write_text("saved by training")
    keep_own_files(str(base), weights)
    for name in (*own, "additional_chat_templates/tool_use.jinja"):
        assert (weights / name).read_bytes() == (base / name).read_bytes()
    for name in written:
        assert (weights / name).read_text() == "saved by training"
    assert not (weights / "special_tokens_map.json").exists()
