"""Every seam on the code path of training, alignment rows, evaluation and reward workers, with tokenizers of others."""

import asyncio
import inspect
import re
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from data_prep.prompt_styles import PLAIN_TEMPLATE, STYLES, Question
from data_prep.tokens import chat_template
from eval.models import Weights
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.trl_plugin.rows import encoder, example
from recipes.verl_plugin.agent_loop import HINT_COLUMN, HintedAgentLoop
from recipes.verl_plugin.passes import Encoder
from recipes.verl_plugin.reward_manager import WholeText, manager
from recipes.verl_plugin.sft_dataset import SolutionDataset
from recipes.verl_plugin.verl_config import rl_config
from reward_fns import compute_score
from tests.contract.test_agent_loop import ScriptedEngine, settings
from tests.contract.test_verl_config import FILES, RUN
from tests.helpers.tokenizers_of_others import EMBEDDED, THINKING, TURNS, saved, tokenizer

pytestmark = pytest.mark.contract

END = "<|endoftext|>"
HINT = ["1 + 2 = 3\n", "Therefore, the final equation is (1 + 2) * 4"]
CLOSING = " </think>\n<answer> (1 + 2) * 4 </answer>"
ANSWER = "".join(HINT) + CLOSING
TRUTH = {"numbers": [1, 2, 4], "target": 12}
KINDS = ("plain", "tags", "chat", "thinking", "thinking_tags", "appends")


def style_of(kind: str) -> str:
    return "chat" if kind in ("chat", "thinking", "thinking_tags") else "completion"


def messages(kind: str, question: str = "Make 12 of 1, 2, 4.") -> list[Any]:
    return list(STYLES[style_of(kind)].messages(Question(question, "1 + 2")))


def template(kind: str, made: Any) -> str:
    return chat_template(STYLES[style_of(kind)], made)


def roll(
    made: Any, kind: str, generated: str, *, pieces: int = 0, shows: bool = False, **columns: Any
) -> tuple[Any, dict[str, Any]]:
    """A rollout through the agent loop, and what the engine was asked."""
    loop = object.__new__(HintedAgentLoop)
    how = {"reward": None, "answer_format": "tags"}
    uft = settings(max_new_tokens=200)
    loop.config = OmegaConf.create({"uft": uft, "reward": {"custom_reward_function": {"reward_kwargs": how}}})
    loop.rollout_config = SimpleNamespace(response_length=400, prompt_length=2000)
    loop.tokenizer, loop.apply_chat_template_kwargs = made, {"chat_template": template(kind, made)}
    ids = [i for i in made(generated, add_special_tokens=False)["input_ids"] if i != made.eos_token_id]
    loop.server_manager = ScriptedEngine([*ids, made.eos_token_id])
    plan = {"length": pieces, "pieces": pieces} | ({"demonstration": 1} if shows else {})
    planned = {"plans": [plan], "n_segments": 2, "key": "k", "prompt_key": "p"}
    row = {
        "raw_prompt": messages(kind),
        "hint": HINT,
        "answer": ANSWER,
        "data_source": "countdown",
        "reward_model": {"ground_truth": TRUTH},
        "global_steps": 1,
        "session_id": 0,
        HINT_COLUMN: planned,
    }

    async def run() -> Any:
        loop.loop = asyncio.get_running_loop()
        return await loop.run({"temperature": 1.0}, **{**row, **columns})

    return asyncio.run(run()), loop.server_manager.asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_is_paid_in_training(kind: str) -> None:
    done, _ = roll(tokenizer(kind), kind, HINT[1] + CLOSING, pieces=1)
    assert done.reward_score == 1.0
    assert done.extra_fields["reward_extra_info"]["pred"] == "(1 + 2) * 4"
    assert done.extra_fields["uft"]["truncated"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_hint_goes_on_with_one_thought(kind: str) -> None:
    made = tokenizer(kind)
    # The solution of somebody who writes the tag, for a prompt that has it.
    columns = {"hint": ["<think>\n" + HINT[0], HINT[1]], "answer": f"<think>\n{ANSWER}{END}"}
    done, asked = roll(made, kind, CLOSING, pieces=2, **columns)
    given = made.decode(asked["prompt_ids"], skip_special_tokens=False)
    # The question speaks of the tags, too.
    turn = re.split("Assistant: |assistant\n", given)[-1]
    assert turn.count("<think>") == 1
    assert turn.endswith("".join(HINT))
    assert made.eos_token_id not in asked["prompt_ids"]
    assert done.reward_score == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_demonstration_has_one_end(kind: str) -> None:
    made = tokenizer(kind)
    for answer in (ANSWER, ANSWER + END, f"{ANSWER}{END}\n"):
        done, _ = roll(made, kind, "", shows=True, answer=answer)
        assert done.response_ids[-1] == made.eos_token_id
        assert done.response_ids.count(made.eos_token_id) == 1
        assert made.decode(done.response_ids[:-1]) == ANSWER


def test_a_response_that_ends_a_turn_is_not_truncated(tmp_path: Path) -> None:
    """Instruct models have several end tokens; the engine stops at each."""
    made = type(tokenizer("chat")).from_pretrained(saved("chat", tmp_path, eos_token_id=[0, 300]))
    loop_end = made.convert_tokens_to_ids(TURNS[1])
    for end in (0, 300, loop_end):
        made_ids = made(HINT[0], add_special_tokens=False)["input_ids"]
        engine_says = ScriptedEngine([*made_ids, end])
        done, _ = roll_with(made, engine_says, max_new_tokens=len(made_ids) + 1)
        assert done.extra_fields["uft"]["truncated"] == 0
    done, _ = roll_with(made, ScriptedEngine(made_ids), max_new_tokens=len(made_ids))
    assert done.extra_fields["uft"]["truncated"] == 1


def roll_with(made: Any, engine: ScriptedEngine, max_new_tokens: int) -> tuple[Any, Any]:
    loop = object.__new__(HintedAgentLoop)
    how = {"reward": None, "answer_format": "tags"}
    uft = settings(max_new_tokens=max_new_tokens)
    loop.config = OmegaConf.create({"uft": uft, "reward": {"custom_reward_function": {"reward_kwargs": how}}})
    loop.rollout_config = SimpleNamespace(response_length=400, prompt_length=2000)
    loop.tokenizer, loop.server_manager = made, engine
    loop.apply_chat_template_kwargs = {"chat_template": template("chat", made)}
    planned = {"plans": [{"length": 0, "pieces": 0}], "n_segments": 2, "key": "k", "prompt_key": "p"}
    row = {"raw_prompt": messages("chat"), "hint": HINT, "answer": ANSWER, "data_source": "countdown"}

    async def run() -> Any:
        loop.loop = asyncio.get_running_loop()
        truth = {"ground_truth": TRUTH}
        return await loop.run({}, **row, reward_model=truth, global_steps=1, session_id=0, **{HINT_COLUMN: planned})

    return asyncio.run(run()), engine.asked


def test_a_question_with_control_tokens_is_text_in_training() -> None:
    made = tokenizer("thinking_tags")
    asks = messages("thinking_tags", f"Is {END} the end? <|im_end|>\n<|im_start|>assistant\n</think>")
    _, asked = roll(made, "thinking_tags", "x", raw_prompt=asks)
    names = made.convert_ids_to_tokens([i for i in asked["prompt_ids"] if i in made.added_tokens_decoder])
    frame = ["<think>", "</think>", "<answer>", "</answer>", "<answer>", "</answer>"]
    assert names == ["<|im_start|>", *frame, "<|im_end|>", "<|im_start|>", "<think>"]
    assert asks[0]["content"] in made.decode(asked["prompt_ids"])


@pytest.mark.parametrize("kind", ["plain", "chat", "thinking_tags"])
def test_an_ordinary_prompt_is_what_verl_would_have_made(kind: str) -> None:
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    made = tokenizer(kind)
    how = {"chat_template": template(kind, made)}
    builder = create_continuous_token_builder(made, hf_model_type="llama", chat_template_kwargs=how)
    _, asked = roll(made, kind, "x")
    assert asked["prompt_ids"] == builder.build_initial_tokens(messages(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_passes_of_the_trainer_write_and_read_as_rollouts_do(kind: str) -> None:
    made = tokenizer(kind)
    encoder = Encoder(made, {"chat_template": template(kind, made)})
    asks = messages(kind, f"Is it {END}?")
    done, _ = roll(made, kind, "", shows=True, raw_prompt=asks)
    assert encoder.prompt(asks) == done.prompt_ids
    assert encoder.solution(asks, ANSWER + END) == done.response_ids
    assert encoder.text(done.response_ids) == ANSWER


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


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_reads_and_asks_as_training_does(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = tokenizer(kind), {}
    said = [i for i in made(ANSWER, add_special_tokens=False)["input_ids"] if i != made.eos_token_id]

    class Engine:
        def __init__(self, **_: Any) -> None:
            pass

        def generate(self, inputs: list[Any], sampling: list[Any], **_: Any) -> list[Any]:
            seen["ids"], seen["sampling"] = inputs[0]["prompt_token_ids"], sampling[0]
            # As vLLM's own text is: without tokens marked as special.
            text = made.decode(said, skip_special_tokens=True)
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[*said, 0], text=text, finish_reason="stop")])]

    vllm: Any = types.ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = Engine, lambda **how: how
    lora: Any = types.ModuleType("vllm.lora.request")
    lora.LoRARequest = None
    transformers: Any = types.ModuleType("transformers")
    transformers.AutoTokenizer = SimpleNamespace(from_pretrained=lambda path: made)
    for name, module in {"vllm": vllm, "vllm.lora.request": lora, "transformers": transformers}.items():
        monkeypatch.setitem(sys.modules, name, module)
    from eval.generate import generate

    how: Any = SimpleNamespace(
        prompt_style=style_of(kind),
        max_prompt_length=2000,
        max_response_length=400,
        dtype="float32",
        seed=0,
        n_samples=1,
        temperature=0.0,
        top_p=1.0,
        greedy_beside=False,
    )
    problem: Any = SimpleNamespace(number=0, messages=messages(kind, f"Is it {END}?"))
    found = next(generate(how, [problem], Weights("m"), "cpu"))[0]
    assert found["output"] == ANSWER
    assert compute_score("countdown", found["output"], TRUTH)["score"] == 1.0
    assert seen["sampling"]["detokenize"] is False
    _, asked = roll(made, kind, "x", raw_prompt=problem.messages)
    assert seen["ids"] == asked["prompt_ids"]
    assert found["input"].count("<think>\n<think>") == 0


def judged(name: str, made: Any, ids: list[int], config: Any = None) -> Any:
    """What verl's reward worker makes of a response."""
    from verl import DataProto

    heard = []

    def score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **_: Any) -> Any:
        heard.append(solution_str)
        return compute_score(data_source, solution_str, ground_truth)

    async def run() -> Any:
        worker = manager(name)(config, made, score)
        worker.loop = asyncio.get_running_loop()
        # Padded on the right, as a batch is.
        responses = torch.tensor([[*ids, 0, 0]])
        mask = torch.tensor([[1, 1, *([1] * len(ids)), 0, 0]])
        data = DataProto.from_dict(
            tensors={"responses": responses, "prompts": torch.tensor([[5, 5]]), "attention_mask": mask},
            non_tensors={
                "data_source": np.array(["countdown"], dtype=object),
                "reward_model": np.array([{"ground_truth": TRUTH}], dtype=object),
                "extra_info": np.array([{}], dtype=object),
            },
        )
        return await worker.run_single(data)

    return asyncio.run(run()), heard


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_answer_is_paid_by_the_reward_worker(kind: str) -> None:
    made = tokenizer(kind)
    ids = [*(i for i in made(ANSWER, add_special_tokens=False)["input_ids"] if i), made.eos_token_id]
    verdict, heard = judged("naive", made, ids)
    assert heard == [ANSWER]
    assert verdict["reward_score"] == 1.0
    done, _ = roll(made, kind, ANSWER)
    assert verdict["reward_extra_info"] == done.extra_fields["reward_extra_info"]


def test_verls_own_manager_loses_the_tags() -> None:
    """What ours is for; once verl keeps them, reward_manager.py can go."""
    from verl.experimental.reward_loop.reward_manager.registry import REWARD_MANAGER

    for name, verls in REWARD_MANAGER.items():
        source = inspect.getsource(verls)
        assert source.count("self.tokenizer.decode(valid_response_ids, skip_special_tokens=True)") == 1, name
        assert "batch_decode" not in source, name
        assert issubclass(manager(name), verls)
    made = tokenizer("tags")
    ids = torch.tensor(made(ANSWER, add_special_tokens=False)["input_ids"])
    assert "<answer>" not in made.decode(ids, skip_special_tokens=True)
    assert WholeText(made).decode(ids, skip_special_tokens=True) == ANSWER
    assert WholeText(made).eos_token_id == made.eos_token_id


@pytest.mark.parametrize("name", ["naive", "dapo"])
def test_verl_finds_our_manager_by_its_own_name(name: str) -> None:
    from verl.trainer.ppo.reward import resolve_reward_manager_cls

    from recipes.verl_plugin.compose import compose_config

    experiment = build_experiment({"algo": "rft", "data": "countdown"}, PROFILES["cpu"])
    values = rl_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    overrides = [] if name == "naive" else [f"reward.reward_manager.name={name}"]
    config = compose_config("ppo_trainer", values, overrides)
    assert resolve_reward_manager_cls(config) is manager(name)
    with pytest.raises(AttributeError, match="nobody"):
        resolve_reward_manager_cls(compose_config("ppo_trainer", values, ["reward.reward_manager.name=nobody"]))


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
