"""The chain bases: a tokenizer that loses nothing and cuts hints cleanly, texts whose steps are right as often as said,
models that load, follow what they are given and do what their cards say, and a build that is a function of its seed."""

from __future__ import annotations

import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_prep.chain.base.measure import measure
from data_prep.chain.base.texts import TextSettings, batch, shown_prompt, solution_text, written
from data_prep.chain.base.tokenizer import DEEPEST, SHOWN, build_tokenizer
from data_prep.chain.base.train import Muon32, TrainSettings, build_model, train
from data_prep.chain.problem import Problem, Space, generate, step
from data_prep.chain.rows import prompt, to_row
from data_prep.tiny_base.tokenizer import EOS
from recipes.algorithms import algorithms, base
from tests import ROOT
from tests.helpers.chain_checks import rows_of

MODELS = ROOT / "models"
BASES = {0.4: "tiny-chain-q40", 0.75: "tiny-chain-q75"}
BUILT = build_tokenizer(1024)
SPACES = [Space("sum"), Space("table"), Space("parity")]
ROWS = [row for space in SPACES for row in rows_of(5, space)]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_round_trips(text: str) -> None:
    assert BUILT.decode(BUILT.encode(text)) == text


@given(st.integers(0, 10**4), st.integers(0, 10**4), st.sampled_from(["state {}: {}\n", "({}) {} ", "input {}: {}\n"]))
@settings(max_examples=200, deadline=None)
def test_steps_round_trip_and_are_one_token_where_the_model_knows_them(number: int, state: int, form: str) -> None:
    text = form.format(number, state)
    tokens = BUILT.encode(text)
    assert BUILT.decode(tokens) == text
    assert (len(tokens) == 1) == (number <= DEEPEST and state < 4)


def test_prompts_and_solutions_are_short() -> None:
    for row in ROWS:
        assert len(BUILT.encode(row["prompt"][0]["content"])) == 1 + 1 + 10 + 1  # rule, start, inputs, instruction
        assert len(BUILT.encode(row["answer"])) == 10 + 1 + 10 + 1


def test_every_hint_is_a_token_prefix_of_its_solution() -> None:
    for row in ROWS:
        solution = BUILT.encode(row["answer"])
        for count in range(len(row["hint"]) + 1):
            assert BUILT.encode("".join(row["hint"][:count])) == solution[:count]
        both = row["prompt"][0]["content"] + row["answer"]
        assert BUILT.encode(row["prompt"][0]["content"]) + solution == BUILT.encode(both)


def test_wrong_solutions_have_as_many_tokens_as_right_ones() -> None:
    assert len(BUILT.encode(solution_text([3, 3, 3, 0]))) == 4 + 1 + 4 + 1


@pytest.mark.parametrize("q", [0.0, 0.4, 1.0])
def test_steps_of_the_texts_are_right_as_often_as_said(q: float) -> None:
    rng, right = random.Random(5), 0
    for problem in generate(400, 0, "train", Space("table")):
        states = [problem.start, *written(rng, problem, q, given=0)]
        right += sum(
            after == step(problem.space, before, move)
            for before, after, move in zip(states, states[1:], problem.inputs, strict=False)
        )
    # Four standard errors of a share of 4,000; a random state is right one time in four.
    assert abs(right / 4_000 - (q + (1 - q) / 4)) < 0.032


def test_what_is_given_is_right_and_gone_on_from() -> None:
    problem = generate(1, 0, "train", Space("sum", 4, 10))[0]
    for k in range(11):
        assert tuple(written(random.Random(0), problem, 0.0, given=k)[:k]) == problem.solution[:k]


def test_shown_solutions_stand_in_the_question_in_the_words_of_the_algorithms() -> None:
    problem = Problem(Space("sum", 4, 3), 2, (3, 1, 2))
    begun = shown_prompt(problem, "prefix", 2)
    assert "input 3: 2\n\n\nHere is the beginning of a solution:\nstate 1: 1\nstate 2: 2\n Show your work" in begun
    assert shown_prompt(problem, "solution", 3).endswith(prompt(problem))
    assert "(1) 1 (2) 2 (3) 0 </answer>\n\nNow solve it" in shown_prompt(problem, "solution", 3)
    for frame in SHOWN:
        assert len(BUILT.encode(shown_prompt(problem, frame, 3))) <= 3 + 3 + 3 + 8 + 3
    # Where the algorithms that show solutions are installed, their words are these.
    if hasattr(base, "IN_PROMPT"):
        assert base.IN_PROMPT.replace("{hint}", "{shown}") == SHOWN["prefix"]
    if "pope" in algorithms():
        from recipes.algorithms import pope

        assert pope.WRAP.replace("{hint}", "{shown}") == SHOWN["begun"]
    if "opsd" in algorithms():
        from recipes.algorithms import opsd

        assert opsd.SOLUTION.replace("{text}", "{shown}") + "{prompt}" == SHOWN["solution"]


def test_a_batch_has_one_length_and_grows_with_the_deepest() -> None:
    rng = random.Random(0)
    for _ in range(20):
        tokens, length = batch(BUILT, TextSettings(0.4), 4, 3, rng)
        assert 0 < length < tokens.shape[1]
        assert (tokens[:, -1] == BUILT.eos_token_id).all()
        assert tokens.shape[1] - length <= 2 * 3 + 3


def test_muon_turns_a_gradient_into_nearly_orthogonal_steps() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(24, 16))
    optimizer = Muon32([weight], lr=1.0, weight_decay=0.0)
    weight.grad = torch.randn(24, 16)
    optimizer.step()
    sizes = torch.linalg.svdvals(weight.detach() / (24 / 16) ** 0.5)
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3
    # Downhill.
    assert (weight.detach() * weight.grad).sum() < 0


def test_training_is_a_pure_function_of_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        tiny = TrainSettings(steps=3, batch_size=2, intermediate_size=32, layers=1)
        model = build_model(BUILT, tiny)
        train(model, BUILT, tiny, TextSettings(0.5), seed)
        return model.model.layers[0].mlp.up_proj.weight.detach()

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.extended
@pytest.mark.parametrize("q", BASES)
def test_the_model_fits_its_tokenizer_its_size_limit_and_its_card(q: float) -> None:
    folder = MODELS / BASES[q]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert tokenizer.get_vocab() == BUILT.get_vocab()
    assert tokenizer.eos_token == tokenizer.pad_token == EOS
    for row in ROWS:
        text = row["prompt"][0]["content"] + row["answer"] + " 汉字 café\t1234"
        assert tokenizer.encode(text) == BUILT.encode(text)
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.head_dim in (32, 64)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10**6
    assert card["texts"]["q"] == q
    for space in SPACES:
        found = measure(model, tokenizer, generate(32, 9, "test", space), samples=2)
        claimed = card["measured"][space.rule]["depth 10"]
        # Four standard errors of a share of 640 steps.
        assert found.steps_right == pytest.approx(claimed["steps_right"], abs=0.08)
        assert abs(found.steps_right - (q + (1 - q) / 4)) < 0.1
        assert found.format == pytest.approx(claimed["format"], abs=0.05)
        # It seldom finds a solution, and follows one that it is shown.
        assert found.pass_1 < claimed["pass_1"] + 0.2
        assert found.all_shown > 0.75


def test_a_row_of_the_task_is_what_the_base_has_tokens_for() -> None:
    row = to_row(Problem(Space("parity", 4, DEEPEST), 1, (2,) * DEEPEST), 0, "train")
    assert len(BUILT.encode(row["answer"])) == 2 * DEEPEST + 2
