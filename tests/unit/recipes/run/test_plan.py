"""What --dry_run and a start tell of a run: whole prompts, as the model gets them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.schema import read_rows
from recipes import ROOT
from recipes.data.datafiles import locate
from recipes.flags.resolve import build_experiment
from recipes.run.plan import hint_schedule, prompt_style
from recipes.settings.profiles import PROFILES
from tests.helpers.front_checks import EXAMPLES, experiment, front_door, small_folder

CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>"
    "\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


def model(place: Path, template: str) -> str:
    """The tiny base with another chat template."""
    shutil.copytree(ROOT / "models/tiny-countdown", place, ignore=shutil.ignore_patterns("*.safetensors"))
    (place / "chat_template.jinja").write_text(template)
    config = json.loads((place / "tokenizer_config.json").read_text())
    (place / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": "<|endoftext|>"}))
    return str(place)


def joined(shown: str) -> str:
    """The prompt of a plan without its heading, lines as they were before they were wrapped."""
    lines = shown.split("\n")[1:]
    return "".join(("\n" if line[15] == "|" else "") + line[17:] for line in lines if line[15:17] in ("| ", "  "))[1:]


def test_a_prompt_is_shown_letter_for_letter(folder: Path) -> None:
    e = experiment(folder)
    shown = prompt_style(e, locate(e, ROOT))
    assert joined(shown) == read_rows(folder / "test.parquet")[0]["prompt"][0]["content"]
    assert max(map(len, shown.split("\n")[1:])) <= 127


@pytest.mark.parametrize("opens", [False, True])
def test_a_chat_prompt_is_shown_with_the_models_template(opens: bool, folder: Path, tmp_path: Path) -> None:
    template = CHATML.replace("assistant\n", "assistant\n<think>\n") if opens else CHATML
    e = replace(experiment(folder), model=model(tmp_path / "base", template), prompt_style="chat")
    shown = prompt_style(e, locate(e, ROOT))
    assert joined(shown).startswith("<|endoftext|><|im_start|>user\n")
    assert joined(shown).rstrip().endswith("<think>")
    assert ("Let me solve this step by step." in shown) != opens
    assert ("opens the thought itself" in shown) == opens


def test_what_is_not_here_is_named_in_words(folder: Path) -> None:
    e = replace(experiment(folder), model="no/such-model", prompt_style="chat")
    shown = prompt_style(e, locate(e, ROOT))
    assert "<the model's chat template>" in shown
    assert "opens the thought itself" not in shown


def test_a_training_on_answers_shows_a_prompt() -> None:
    done = front_door("--profile", "cpu", "--algo", "dpo", "--data", str(EXAMPLES / "preferences.jsonl"), "--dry_run")
    assert "first prompt:  " in done.stdout
    assert "| What is the capital of Australia?" in done.stdout


@pytest.mark.parametrize(("flags", "said"), [({"T": 10}, True), ({"T": 10, "T_hint": 6}, False), ({"T": 30}, False)])
def test_hints_until_the_last_step_are_said(flags: dict[str, int], said: bool) -> None:
    assert ("until the last step" in hint_schedule(build_experiment(dict(flags), PROFILES["cpu"]))) == said
