"""Prompt styles: the published frame byte for byte, questions found again, answers where each style's reward looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.countdown.generate import Space, generate, to_row
from data_prep.prompt_styles import STYLES, Question, completion_prompt, read_completion, restyle, with_hint
from data_prep.schema import SchemaError, build_row, validate_row
from reward_fns import compute_score

TEXT = st.text(max_size=80)


def math_row(hint: list[str], gold: str):
    return build_row(
        prompt=completion_prompt(Question("What is {1}^2 + 1?", "12")),
        hint=hint,
        final_answer=gold,
        data_source="math",
        ability="math",
        ground_truth={"target": gold},
        index=0,
        split="train",
    )


def test_the_completion_style_is_the_published_prompt() -> None:
    assert completion_prompt(Question("1 + 2 = ?", "12")) == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer.\n"
        "User: 1 + 2 = ? Show your work in <think> </think> tags. And return the final answer in <answer> </answer> "
        "tags, for example <answer> 12 </answer>.\nAssistant: Let me solve this step by step.\n<think> "
    )


@given(TEXT, TEXT)
def test_a_question_is_found_again_in_its_prompt(text: str, example: str) -> None:
    question = Question(text, example)
    assert read_completion(completion_prompt(question)) == question


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@given(text=TEXT, hint=TEXT)
def test_a_hint_stands_inside_the_frame_of_every_style(style, text: str, hint: str) -> None:
    bare = style.messages(Question(text, "12"))
    found = with_hint([{"role": "system", "content": "s"}, *bare], style, hint, "{question}\n[{hint}]")
    assert found[0] == {"role": "system", "content": "s"}
    assert found[1:] == style.messages(Question(f"{text}\n[{hint}]", "12"))


def test_words_of_the_question_are_not_taken_for_places_and_a_prompt_without_a_frame_is_wrapped_whole() -> None:
    asked = [{"role": "user", "content": "Is {hint} a word?"}]
    [found] = with_hint(asked, STYLES["completion"], "{question}", "{question} {hint}")
    assert found["content"] == "Is {hint} a word? {question}"


def test_another_prompt_is_not_taken_for_one() -> None:
    assert read_completion("What is 1 + 1?") is None
    row = {**math_row(["a"], "2"), "prompt": [{"role": "user", "content": "What is 1 + 1?"}]}
    with pytest.raises(SchemaError, match=r"f\.parquet, row 3, column prompt: not in the completion style"):
        restyle(row, STYLES["chat"], "f.parquet, row 3")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_the_solution_of_a_restyled_row_is_valid_and_scores_one(style) -> None:
    row = restyle(math_row(["One squared is 1.\n", "So 2."], "2"), style, "row")
    validate_row(row, "row")
    assert "What is {1}^2 + 1?" in row["prompt"][0]["content"]
    found = compute_score(
        row["data_source"], row["answer"], row["reward_model"]["ground_truth"], answer_format=style.answer_format
    )
    assert found["score"] == 1.0


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_solution_that_ends_in_a_box_without_tags_stays_as_it_is(style) -> None:
    given = {**math_row(["One squared is 1.\n"], "2"), "answer": "One squared is 1.\nThe answer is $\\boxed{2}$."}
    validate_row(given, "row")
    found = restyle(given, style, "row")  # type: ignore[arg-type]
    assert (found["answer"], found["hint"]) == (given["answer"], given["hint"])


def test_an_answer_that_is_boxed_already_is_not_boxed_twice() -> None:
    row = restyle(math_row(["So $\\boxed{2}$."], "2"), STYLES["qwen_math"], "row")
    assert row["answer"] == "So $\\boxed{2}$."


@pytest.mark.parametrize("style", ["qwen_math", "none"])
@pytest.mark.parametrize(
    ("hint", "kept"),
    [
        (["We add.\n", "So $\\boxed{2}$."], 1),
        (["So $\\boxed{2}$."], 0),
        (["We add.\n", "It is $\\boxed{2}$. ", "Indeed, it is 2."], 1),
        (["We add.\n", "Once $\\boxed{2}$. ", "And again. ", "So $\\boxed{2}$."], 1),
        (["We add.\n", "Then $x = \\boxed{5}$.\n", "So $\\boxed{2}$."], 1),
        (["We add.\n", "It is \\boxed 2."], 1),
        (["We add.\n", "It is $\\boxed {2}$."], 1),
        (["We add.\n", "It is $\\box", "ed{2}$. ", "Done."], 1),
        (["We add.\n", "It is $\\boxed", "{2}$. ", "Done."], 1),
        (["We add.\n", "It is $\\boxed{", "2}$. ", "Done."], 1),
        (["We add.\n", "", "It is $\\boxed{2}$."], 2),
        (["We </think> add.\n", "It is $\\boxed{2}$."], 1),
        (["We add.\n", "</think> It is $\\boxed{2}$. </think>", "Done."], 1),
        (["We add.\n", "It is 2."], 2),
        ([], 0),
    ],
)
def test_hints_end_before_the_first_box_where_the_answer_is_read_from_one(
    style: str, hint: list[str], kept: int
) -> None:
    row = restyle(math_row(hint, "2"), STYLES[style], "row")
    assert row["hint"] == hint[:kept]
    assert row["answer"].startswith("".join(hint)), "the whole solution is what supervised training learns"
    for end in range(len(row["hint"]) + 1):
        alone = "".join(row["hint"][:end])
        for text in (alone, alone + " I do not know.", alone + "2}"):
            found = compute_score("math", text, {"target": "2"}, answer_format="boxed")
            assert found["score"] == 0.0, text


@pytest.mark.parametrize("style", ["completion", "chat", "r1"])
def test_hints_keep_their_boxes_where_the_answer_is_read_from_tags(style: str) -> None:
    hint = ["We add.\n", "So $\\boxed{2}$."]
    assert restyle(math_row(hint, "2"), STYLES[style], "row")["hint"] == hint


def test_countdown_in_chat_style_keeps_its_solution() -> None:
    row = to_row(generate(1, 0, "train", Space(sizes=(3,)))[0], 0, "train")
    chat = restyle(row, STYLES["chat"], "row")
    assert chat["answer"] == row["answer"]
    assert chat["hint"] == row["hint"]
    assert chat["prompt"][0]["content"].startswith("Using the numbers [")
    assert chat["prompt"][0]["content"].endswith("</answer>.")


def test_countdown_answers_are_not_read_from_boxes() -> None:
    with pytest.raises(ValueError, match="tags only"):
        compute_score("countdown", "\\boxed{1+2}", {"numbers": [1, 2], "target": 3}, answer_format="boxed")


def test_templates() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def render(template: str, **values: object) -> str:
        return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template).render(values)

    messages = [{"role": "user", "content": "Q"}]
    assert render(STYLES["completion"].template(None), messages=messages, bos_token="<s>") == "<s>Q"
    assert render(STYLES["r1"].template("own"), messages=messages) == "Q"
    own = "{% for m in messages %}<u>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<a>\n{% endif %}"
    chat = STYLES["chat"].template(own)
    assert render(chat, messages=messages, add_generation_prompt=True) == (
        "<u>Q\n<a>\nLet me solve this step by step.\n<think> "
    )
    assert render(chat, messages=messages, add_generation_prompt=False) == "<u>Q\n"
    with pytest.raises(ValueError, match="no chat template"):
        STYLES["chat"].template(None)
