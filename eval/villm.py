"""ViLLM-Eval (arXiv 2404.11086), four Vietnamese benchmarks, as tasks of lm-evaluation-harness with its protocol:
likelihood of the options' texts after "Question: ...\\nAnswer:", acc and acc_norm; greedy last word for lambada_vi.

Example item: {"question": "Thủ đô ...?", "choices": {"text": ["Huế", "Hà Nội", ...]}, "answerKey": "B"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

OWNER = "vlsp-2023-vllm"
# Our names of the tasks, and the subjects as the data names them.
SUBJECTS = {
    "lichsu": "MÔN SỬ",
    "dialy": "MÔN ĐỊA",
    "vatly": "MÔN LÍ",
    "sinhhoc": "MÔN SINH",
    "hoahoc": "MÔN HOÁ",
    "toan": "MÔN TOÁN",
    "van": "MÔN VĂN",
}
LETTERS = "ABCD"
EXAMS = tuple(f"exams_{short}_vi" for short in SUBJECTS)


class ItemError(ValueError):
    """An item that is not in the published format; the message names item and key."""


def configs() -> dict[str, dict[str, Any]]:
    """The ten tasks by name, as configurations of lm-evaluation-harness. The caller sets the shots."""
    # If there is only a test split, worked examples come from it. It must be named: otherwise the harness also takes
    # them from there, but without keeping an item's own answer out of its prompt.
    tasks = {
        "lambada_vi": _lambada(),
        "wikipediaqa_vi": _choice("wikipediaqa_vi", "wikipediaqa_vi", "Question: ", fewshot_split="test"),
        "comprehension_vi": _choice("comprehension_vi", "comprehension", "", training_split="train"),
    }
    for name, subject in zip(EXAMS, SUBJECTS.values(), strict=True):
        tasks[name] = _choice(name, "exams_vi", "Question: ", subject=subject, fewshot_split="test")
    return tasks


def _lambada() -> dict[str, Any]:
    return {
        "task": "lambada_vi",
        "dataset_path": f"{OWNER}/lambada_vi",
        "test_split": "test",
        "output_type": "loglikelihood",
        "process_docs": last_words,
        "doc_to_text": "{{context}}",
        # The harness does not put a space before a target whose likelihood it measures.
        "doc_to_target": "{{' ' + target_word}}",
        "metric_list": [_metric("perplexity", "perplexity", higher_is_better=False), _metric("acc")],
        "metadata": {"version": 1.0},
    }


def _choice(name: str, dataset: str, before: str, subject: str | None = None, **splits: str) -> dict[str, Any]:
    return {
        "task": name,
        "dataset_path": f"{OWNER}/{dataset}",
        "test_split": "test",
        **splits,
        "output_type": "multiple_choice",
        "process_docs": partial(options, subject=subject),
        "doc_to_text": before + "{{question}}\nAnswer:",
        "doc_to_target": "gold",
        "doc_to_choice": "options",
        "metric_list": [_metric("acc"), _metric("acc_norm")],
        "metadata": {"version": 1.0},
    }


def _metric(name: str, aggregation: str = "mean", higher_is_better: bool = True) -> dict[str, Any]:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": higher_is_better}


def options(items: Dataset, subject: str | None = None) -> Dataset:
    """Items {question, options, gold: position of the correct option}; only of `subject` if given.

    Raises:
        ItemError: for a malformed item, or if there are none of the subject.
    """
    return _converted(items, partial(_options, subject=subject), f"no item has metadata.subject {subject!r}")


def last_words(items: Dataset) -> Dataset:
    """Items {context, target_word}, checked."""
    return _converted(items, _last_word, "no items")


def _converted(items: Dataset, convert: Callable[..., dict[str, Any] | None], empty: str) -> Dataset:
    from datasets import Dataset

    found = [convert(item, f"item {number}") for number, item in enumerate(items)]
    kept = [item for item in found if item is not None]
    if not kept:
        raise ItemError(empty)
    return Dataset.from_list(kept)


def _options(item: Mapping[str, Any], where: str, subject: str | None) -> dict[str, Any] | None:
    if subject is not None and _at(item, where, "metadata", "subject") != subject:
        return None
    texts = _at(item, where, "choices", "text")
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise ItemError(f"{where}, key choices.text: must be a list of texts, got {texts!r}")
    key = _text(item, where, "answerKey").strip()
    if len(key) != 1 or key not in LETTERS[: len(texts)]:
        raise ItemError(f"{where}, key answerKey: must be a letter of {LETTERS[: len(texts)]}, got {key!r}")
    return {"question": _text(item, where, "question"), "options": texts, "gold": LETTERS.index(key)}


def _last_word(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {key: _text(item, where, key) for key in ("context", "target_word")}


def _text(item: Mapping[str, Any], where: str, key: str) -> str:
    value = _at(item, where, key)
    if not isinstance(value, str) or not value.strip():
        raise ItemError(f"{where}, key {key}: must be text, got {value!r}")
    return value


def _at(item: Any, where: str, *path: str) -> Any:
    for depth, key in enumerate(path):
        if not isinstance(item, Mapping) or key not in item:
            has = ", ".join(item) if isinstance(item, Mapping) else type(item).__name__
            raise ItemError(f"{where}, key {'.'.join(path[: depth + 1])}: missing; there is {has}")
        item = item[key]
    return item
