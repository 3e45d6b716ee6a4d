"""The suites of lm-evaluation-harness from run.py to their results, with the tiny model on small local files."""

import json
from pathlib import Path

import pytest

from eval.harness_tasks import SUITES
from eval.villm import SUBJECTS
from tests.e2e.support import EMBEDDED, run
from tests.helpers.harness_files import write_new, write_old

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (docs/evaluation_suites.md)")

ITEMS = 6


def write_villm(folder: Path) -> None:
    """ITEMS items for each of the ten tasks, in the published format."""
    places = ["Huế", "Hà Nội", "Đà Nẵng", "Cần Thơ"]

    def item(number: int, subject: str = "") -> dict[str, object]:
        return {
            "id": f"{subject}{number}",
            "question": f"Thành phố số {number} của {subject or 'Việt Nam'} là gì?",
            "choices": {"label": list("ABCD"), "text": places[number % 4 :] + places[: number % 4]},
            "answerKey": "ABCD"[number % 4],
            "metadata": {"subject": subject, "grade": "12"},
        }

    def last_word(number: int) -> dict[str, object]:
        context = f"Using the numbers [{number}, 2, 3], create an equation that"
        return {"text": context + " equals", "context": context, "target_word": "equals", "metadata": {}}

    exams = [item(number, subject) for subject in SUBJECTS.values() for number in range(ITEMS)]
    files = {
        "lambada_vi/test.jsonl": [last_word(number) for number in range(ITEMS)],
        "exams_vi/test.jsonl": exams,
        "wikipediaqa_vi/test.jsonl": [item(number) for number in range(ITEMS)],
        "comprehension/test.jsonl": [item(number) for number in range(ITEMS)],
    }
    for name, items in files.items():
        (folder / name).parent.mkdir(parents=True)
        text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in items)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one evaluation on the three suites, without the hub, and what it printed."""
    folder = tmp_path_factory.mktemp("harness")
    write_villm(folder / "copies/villm")
    write_old(folder / "copies/leaderboard_old")
    write_new(folder / "copies/leaderboard_new")
    flags = ("--data_path", str(folder / "copies"), "--skip", "ifeval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder / "home"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        done = run(folder / "eval", "--eval", "--data", "villm,leaderboard_old,leaderboard_new", *flags)
    assert "did not end by themselves" not in done.stdout, "the engine's processes outlive the evaluation"
    return folder / "eval", done.stdout


@pytest.fixture(scope="module")
def villm_run(evaluated: tuple[Path, str]) -> Path:
    return evaluated[0] / "villm"


@pytest.mark.e2e
@pytest.mark.parametrize("suite", ["leaderboard_old", "leaderboard_new"])
def test_a_leaderboard_runs_from_files_to_results(suite: str, evaluated: tuple[Path, str]) -> None:
    out, printed = evaluated
    results = json.loads((out / suite / "results.json").read_text(encoding="utf-8"))
    skipped = ["ifeval"] if suite == "leaderboard_new" else []
    assert results["skipped"] == skipped
    assert set(results["benchmarks"]) == {benchmark.name for benchmark in SUITES[suite]} - set(skipped)
    for name, benchmark in results["benchmarks"].items():
        assert benchmark["items"] > 0
        assert 0 <= benchmark["score"] <= 1
        assert f"{suite}: {name}" in printed
    assert f"{suite}: mean over benchmarks" in printed
    assert results["benchmarks"].keys() == {
        json.loads(line)["benchmark"] for line in (out / suite / "samples.jsonl").read_text().splitlines()
    }


@pytest.mark.e2e
def test_villm_runs_from_files_to_results(villm_run: Path) -> None:
    results = json.loads((villm_run / "results.json").read_text(encoding="utf-8"))
    benchmarks = results["benchmarks"]
    assert {name: (found["shots"], found["items"]) for name, found in benchmarks.items()} == {
        "lambada_vi": (0, ITEMS),
        "exams_vi": (5, 7 * ITEMS),
        "gkqa": (5, ITEMS),
        "comprehension_qa": (0, ITEMS),
    }
    assert len(results["tasks"]) == 10
    assert all(len(task["hash"]) == 64 for task in results["tasks"].values())
    assert results["tasks"]["lambada_vi"]["scores"]["perplexity,none"] > 1.0


@pytest.mark.e2e
def test_scores_follow_from_the_likelihoods_of_the_samples(villm_run: Path) -> None:
    results = json.loads((villm_run / "results.json").read_text(encoding="utf-8"))
    samples = [json.loads(line) for line in (villm_run / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    last_words = [sample for sample in samples if sample["benchmark"] == "lambada_vi"]
    assert [sample["continuations"] for sample in last_words] == [[" equals"]] * ITEMS
    asked = [sample for sample in samples if sample["benchmark"] == "gkqa"]
    assert len(asked) == ITEMS
    right = 0
    for sample in asked:
        likelihoods = [float(likelihood) for likelihood, _ in sample["read"]]
        assert all(likelihood < 0 for likelihood in likelihoods)
        worked, asked_now = sample["prompt"].rsplit("\n\n", 1)
        assert worked.count("Question: ") == 5
        assert asked_now.partition("\n")[0] not in worked
        assert all(text.startswith(" ") for text in sample["continuations"])
        right += likelihoods.index(max(likelihoods)) == sample["target"]
    assert results["benchmarks"]["gkqa"]["score"] == pytest.approx(right / ITEMS)


@pytest.mark.e2e
def test_likelihoods_are_those_of_the_model_itself(villm_run: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).eval()
    lines = (villm_run / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [sample for line in lines if (sample := json.loads(line))["benchmark"] == "comprehension_qa"]
    for sample in samples[:2]:
        prompt = tokenizer(sample["prompt"], add_special_tokens=False)["input_ids"]
        for text, (measured, greedy) in zip(sample["continuations"], sample["read"], strict=True):
            whole = tokenizer(sample["prompt"] + text, add_special_tokens=False)["input_ids"]
            assert whole[: len(prompt)] == prompt
            with torch.no_grad():
                logits = model(torch.tensor([whole])).logits[0, len(prompt) - 1 : -1]
            target = torch.tensor(whole[len(prompt) :])
            expected = logits.log_softmax(-1).gather(1, target[:, None]).sum().item()
            assert float(measured) == pytest.approx(expected, abs=0.02)
            assert greedy in (bool((logits.argmax(-1) == target).all()), str(bool((logits.argmax(-1) == target).all())))
