"""The embedded tiny base: a tokenizer that loses nothing and cuts hints cleanly, a model that loads and writes the
countdown format, chains that calculate rightly, and a build that is a pure function of its seed."""

from __future__ import annotations

import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from data_prep.countdown.generate import Space, generate, to_row
from data_prep.tiny_base.chains import ChainSettings, sample_chain
from data_prep.tiny_base.measure import complete, measure
from data_prep.tiny_base.tokenizer import EOS, build_tokenizer
from data_prep.tiny_base.train import TrainSettings, build_model, train
from reward_fns import compute_score
from tests import ROOT

FOLDER = ROOT / "models" / "tiny-countdown"
BUILT = build_tokenizer(1024)
ROWS = [to_row(problem, index, "test") for index, problem in enumerate(generate(20, 3, "test"))]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(FOLDER)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_round_trips(text: str) -> None:
    assert BUILT.decode(BUILT.encode(text)) == text


@given(st.lists(st.integers(0, 10**6), min_size=1), st.sampled_from([" + ", " - ", "+", ", ", "\n", " = "]))
@settings(max_examples=200, deadline=None)
def test_arithmetic_text_round_trips(numbers: list[int], between: str) -> None:
    text = between.join(map(str, numbers))
    assert BUILT.decode(BUILT.encode(text)) == text


@pytest.mark.parametrize("number", [0, 7, 10, 99, 100, 999])
def test_integers_up_to_999_are_one_token(number: int) -> None:
    assert BUILT.tokenize(f"({number})")[1] == str(number)


def test_larger_integers_fall_back_to_digits() -> None:
    assert BUILT.tokenize("12345") == list("12345")


def test_the_saved_tokenizer_is_the_built_one(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.get_vocab() == BUILT.get_vocab()
    for row in ROWS:
        text = row["prompt"][0]["content"] + row["answer"] + " 汉字 café\t1234"
        assert tokenizer.encode(text) == BUILT.encode(text)


def test_eos_is_also_pad_and_is_not_added_to_text(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.eos_token == tokenizer.pad_token == EOS
    assert tokenizer.eos_token_id not in tokenizer.encode("19 + 35 = 54\n")


def test_prompts_and_solutions_are_short(tokenizer: PreTrainedTokenizerFast) -> None:
    for row in ROWS:
        assert len(tokenizer.encode(row["prompt"][0]["content"])) <= 11
        assert len(tokenizer.encode(row["answer"])) <= 44
    assert len(tokenizer.encode("Therefore, the final equation is ")) == 1


def test_the_chat_template_leaves_a_completion_prompt_unchanged(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = ROWS[0]["prompt"]
    assert tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) == prompt[0]["content"]


def test_every_hint_is_a_token_prefix_of_its_solution(tokenizer: PreTrainedTokenizerFast) -> None:
    for row in ROWS:
        solution = tokenizer.encode(row["answer"])
        for count in range(len(row["hint"]) + 1):
            cut = tokenizer.encode("".join(row["hint"][:count]))
            assert solution[: len(cut)] == cut


def test_prompt_and_response_tokens_join_as_the_whole_text_does(tokenizer: PreTrainedTokenizerFast) -> None:
    for row in ROWS:
        prompt, answer = row["prompt"][0]["content"], row["answer"]
        assert tokenizer.encode(prompt) + tokenizer.encode(answer) == tokenizer.encode(prompt + answer)


def test_model_fits_its_tokenizer_and_its_size_limit(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    # Not qwen2: for that type transformers 5 replaces the saved tokenizer's splitting rules by Qwen's own.
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.vocab_size == len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert model.config.tie_word_embeddings
    assert model.config.head_dim in (32, 64)
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8 * 2**20


def test_greedy_completion_has_the_format(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    problem = generate(1, 5, "test", Space(sizes=(3,), max_number=30))[0]
    prompt = to_row(problem, 0, "test")["prompt"][0]["content"]
    tokens = complete(model, torch.tensor([tokenizer.encode(prompt)]), temperature=0.0, max_new_tokens=48)
    text = tokenizer.decode(tokens[0])
    assert text.count("\n") == 3
    assert text.endswith(f" </answer>{EOS}")
    truth = {"numbers": list(problem.numbers), "target": problem.target}
    assert compute_score("countdown", text.removesuffix(EOS), truth)["format"] == 1.0


def test_the_card_is_what_the_model_does(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    assert card["parameters"] == sum(weight.numel() for weight in model.parameters())
    space = Space(sizes=(3,), max_number=30, operators="+-")
    found = measure(model, tokenizer, generate(128, 0, "test", space), temperature=0.0)
    claimed = card["measured"]["cpu_profile"]["greedy"]
    # The card is over more problems: the tolerance is three standard errors of a share of 128.
    assert found.format == pytest.approx(claimed["format"], abs=0.05)
    assert found.accuracy == pytest.approx(claimed["accuracy"], abs=0.12)


@given(st.integers(), st.sampled_from([3, 4]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_chains_use_every_number_calculate_rightly_and_end_in_their_result(seed: int, size: int, aligned: bool) -> None:
    chain = sample_chain(random.Random(seed), ChainSettings(), size, aligned)
    assert len(chain.steps) == size - 1
    assert chain.steps[-1].endswith(f" = {chain.result}\n")
    truth = {"numbers": list(chain.numbers), "target": chain.result}
    assert compute_score("countdown", chain.response, truth)["acc"] == 1.0
    assert not aligned or chain.result == chain.target


def test_training_is_a_pure_function_of_the_seed() -> None:
    def first_weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        small = TrainSettings(steps=3, batch_size=2, hidden_size=32, intermediate_size=32, layers=1)
        tiny = build_model(BUILT, small)
        train(tiny, BUILT, small, ChainSettings(), seed)
        return tiny.model.embed_tokens.weight.detach()

    assert torch.equal(first_weights(0), first_weights(0))
    assert not torch.equal(first_weights(0), first_weights(1))
