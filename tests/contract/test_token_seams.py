"""Tokens of a rollout, with tokenizers of others: prompt, hint, demonstration, end and verdict."""

import re
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eval.models import Weights
from recipes.verl_plugin.passes import Encoder
from reward_fns import compute_score
from tests.helpers.token_seams import ANSWER, CLOSING, END, HINT, KINDS, TRUTH, messages, roll, style_of, template
from tests.helpers.tokenizers_of_others import TURNS, saved, tokenizer

pytestmark = pytest.mark.contract


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
    ids = made(HINT[0], add_special_tokens=False)["input_ids"]
    for ends, truncated in (([0], 0), ([300], 0), ([made.convert_tokens_to_ids(TURNS[1])], 0), ([], 1)):
        said = [*ids, *ends]
        done, _ = roll(made, "chat", said, max_new_tokens=len(said))
        assert done.extra_fields["uft"]["truncated"] == truncated


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
