"""ViLLM-Eval's tasks: prompts, candidates and gold of the original protocol, and errors that name item and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (docs/evaluation_suites.md)")

from datasets import Dataset

from eval.harness_tasks import SUITES, HarnessError, load_suite
from eval.villm import EXAMS, SUBJECTS, ItemError, configs, last_words, options

ITEM = {
    "id": "1",
    "question": "Thủ đô của Việt Nam là gì?",
    "choices": {"text": ["Huế", "Hà Nội", "Đà Nẵng", "Cần Thơ"]},
    "answerKey": "B",
    "metadata": {"subject": "MÔN ĐỊA", "grade": "12"},
}
WORD = {"text": "Hôm nay trời đẹp", "context": "Hôm nay trời", "target_word": "đẹp", "metadata": {}}


def task(name: str, items: list[dict[str, Any]], shots: int = 0) -> Any:
    from lm_eval.api.task import ConfigurableTask

    def data(**_: Any) -> dict[str, Dataset]:
        return {"test": Dataset.from_list(items)}

    loaded = ConfigurableTask(
        config={**configs()[name], "custom_dataset": data, "num_fewshot": shots, "training_split": None}
    )
    loaded.set_fewshot_seed(0)
    loaded.build_all_requests(rank=0, world_size=1)
    return loaded


def test_the_suite_has_the_four_benchmarks_with_their_shots() -> None:
    assert {b.name: (b.tasks, b.shots) for b in SUITES["villm"]} == {
        "lambada_vi": (("lambada_vi",), 0),
        "exams_vi": (EXAMS, 5),
        "gkqa": (("wikipediaqa_vi",), 5),
        "comprehension_qa": (("comprehension_vi",), 0),
    }
    assert len(configs()) == 10


@pytest.mark.parametrize(("name", "prefix"), [("wikipediaqa_vi", "Question: "), ("comprehension_vi", "")])
def test_candidates_are_the_texts_of_the_options(name: str, prefix: str) -> None:
    asked = [instance.args for instance in task(name, [ITEM]).instances]
    prompt = f"{prefix}Thủ đô của Việt Nam là gì?\nAnswer:"
    assert asked == [(prompt, f" {text}") for text in ITEM["choices"]["text"]]


def test_worked_examples_end_in_the_text_of_the_right_option() -> None:
    items = [{**ITEM, "question": f"Câu {number}?"} for number in range(7)]
    instances = task("wikipediaqa_vi", items, shots=5).instances
    for number, instance in enumerate(instances[::4]):
        parts = instance.args[0].split("\n\n")
        assert len(parts) == 6
        assert parts[-1] == f"Question: Câu {number}?\nAnswer:"
        # Its own answer is not among them.
        assert all(part.endswith("\nAnswer: Hà Nội") and f"Câu {number}?" not in part for part in parts[:-1])


def test_accuracy_is_by_likelihood_and_normalised_by_characters() -> None:
    loaded = task("wikipediaqa_vi", [ITEM])
    document = loaded.eval_docs[0]
    # The shortest text is the likeliest; by its length "Hà Nội" is.
    likelihoods = [(-4.0, False), (-6.0, False), (-20.0, False), (-20.0, False)]
    assert loaded.process_results(document, likelihoods) == {"acc": 0.0, "acc_norm": 1.0}
    assert loaded.process_results(document, [(-9.0, False), (-6.0, True), *likelihoods[2:]]) == {
        "acc": 1.0,
        "acc_norm": 1.0,
    }


def test_the_last_word_follows_a_space_and_counts_if_greedy() -> None:
    loaded = task("lambada_vi", [WORD])
    assert [instance.args for instance in loaded.instances] == [("Hôm nay trời", " đẹp")]
    document = loaded.eval_docs[0]
    assert loaded.process_results(document, [(-2.5, True)]) == {"perplexity": -2.5, "acc": 1}
    assert loaded.process_results(document, [(-2.5, False)])["acc"] == 0
    assert loaded.aggregation()["perplexity"]([-1.0, -3.0]) == pytest.approx(7.389, abs=1e-3)


def test_exams_are_split_by_subject() -> None:
    items = [{**ITEM, "id": name, "question": name, "metadata": {"subject": name}} for name in SUBJECTS.values()]
    for task_name, subject in zip(EXAMS, SUBJECTS.values(), strict=True):
        asked = task(task_name, items).instances
        assert {instance.args[0] for instance in asked} == {f"Question: {subject}\nAnswer:"}


def test_the_key_may_have_spaces_around_it() -> None:
    assert options(Dataset.from_list([{**ITEM, "answerKey": " C "}]))[0]["gold"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answerKey": "E"}, "item 1, key answerKey: must be a letter of ABCD, got 'E'"),
        ({"answerKey": ""}, "item 1, key answerKey: must be text"),
        ({"question": " "}, "item 1, key question: must be text"),
        ({"choices": {"text": []}}, "item 1, key answerKey: must be a letter of , got 'B'"),
        ({"choices": {"text": ["a", ""]}}, "item 1, key choices.text: must be a list of texts"),
    ],
)
def test_items_of_another_form_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ItemError) as raised:
        options(Dataset.from_list([ITEM, {**ITEM, **changes}]))
    assert message in str(raised.value)


def test_missing_keys_and_subjects_are_named() -> None:
    with pytest.raises(ItemError, match=r"item 0, key choices\.text: missing; there is labels"):
        options(Dataset.from_list([{**ITEM, "choices": {"labels": ["A"]}}]))
    with pytest.raises(ItemError, match="item 0, key target_word: missing; there is text, context"):
        last_words(Dataset.from_list([{"text": "a b", "context": "a"}]))
    with pytest.raises(ItemError, match=r"no item has metadata\.subject 'MÔN VĂN'"):
        options(Dataset.from_list([ITEM]), subject="MÔN VĂN")


def test_an_error_in_a_local_file_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "comprehension").mkdir()
    items = [ITEM, {**ITEM, "answerKey": "X"}]
    (tmp_path / "comprehension/test.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    with pytest.raises(HarnessError, match=r"comprehension/test\.jsonl.*item 1, key answerKey"):
        load_suite("villm", tmp_path, skip=["lambada_vi", "exams_vi", "gkqa"])
