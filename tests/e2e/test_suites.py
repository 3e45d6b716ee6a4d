"""Every suite that needs no further package, from small files in the public formats to its results: one command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.benchmarks.others import BENCHMARKS
from data_prep.benchmarks.vnhsge import subject_table
from tests.e2e.support import run

pytestmark = pytest.mark.e2e

# One answer as each benchmark writes it.
GOLD = {"olympiad_bench": ["$\\frac{1}{2}$"], "gsm8k": "16 - 7 = <<16-7=9>>9.\n#### 9", "amc": 142.0}
SUBJECTS = ("Physics", "CivicEducation")
SUITES = "suite:math,reasoning,vnhsge,general_knowledge"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def exam(number: int, **changes: Any) -> dict[str, Any]:
    question = f"Câu {number}. Biên độ của sóng là\nA. 10 mm.\nB. 4 mm.\nC. 5 mm.\nD. 2 mm."
    return {"ID": f"{number}", "Image_Question": "", "Question": question, "Choice": "ABCD"[number % 4], **changes}


def write_copies(folder: Path) -> Path:
    """A local copy of what the suites load: two problems a benchmark, three questions a subject, four of knowledge."""
    for benchmark in BENCHMARKS:
        answer = GOLD.get(benchmark.name, "42")
        rows = [{benchmark.question: f"What is {n} + {n}?", benchmark.answer: answer} for n in range(2)]
        write_lines(folder / "others" / f"{benchmark.name}.jsonl", rows)
    for subject in SUBJECTS:
        file = folder / "vnhsge/Dataset/VNHSGE-V/JSON format/eval" / subject / "exam_2019.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps([exam(n) for n in range(3)], ensure_ascii=False), encoding="utf-8")
    questions = [{"Question": f"What is the capital of country {n}?", "Answer": f"City {n}"} for n in range(4)]
    write_lines(folder / "general_knowledge/train.jsonl", questions)
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one evaluation over all of them, two answers per problem, and what it printed."""
    folder = tmp_path_factory.mktemp("suites")
    copies = write_copies(folder / "copies")
    flags = ("--n_samples", "2", "--k", "2", "--max_response_length", "48", "--seed", "3")
    done = run(folder / "eval", "--eval", "--data", SUITES, "--data_path", str(copies), *flags)
    return folder / "eval", done.stdout


def blocks(out: Path, part: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((out / part / "results.json").read_text())["sources"]
    return found


def test_every_part_of_every_suite_has_its_results(evaluated: tuple[Path, str]) -> None:
    out, printed = evaluated
    problems = {
        "math-suite": {"aime24": 2, "aime25": 2, "amc": 2, "math500": 2, "minerva": 2, "olympiad_bench": 2},
        "countdown": {"countdown": 256},
        "kk_logic": {"kk_logic": 64},
        "gsm8k": {"gsm8k": 2},
        "vnhsge": {"vnhsge": 3 * len(SUBJECTS)},
        "general_knowledge": {"general_knowledge": 4},
    }
    for part, sources in problems.items():
        assert {source: block["problems"] for source, block in blocks(out, part).items()} == sources
        for block in blocks(out, part).values():
            assert block["samples"] == 2 * block["problems"]
            assert {name for name in block if name.startswith("pass@")} == {"pass@2"}
            assert block["pass@2"] >= block["accuracy"]
        lines = (out / part / "items.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 2 * sum(sources.values())
        assert all(json.loads(line)["reward_error"] == 0 for line in lines)
        assert part in printed
    assert json.loads((out / "results.json").read_text()).keys() == problems.keys()
    assert "math-suite: mean over sources" in printed
    assert "pass@2" in printed


def test_the_tiny_model_solves_what_it_was_made_for(evaluated: tuple[Path, str]) -> None:
    """A canary of prompts and rewards: the embedded base solves about one easy countdown problem in six."""
    block = blocks(evaluated[0], "countdown")["countdown"]
    assert block["accuracy"] > 0.05
    assert block["pass@2"] > block["accuracy"]


def test_vnhsge_has_its_table_by_subject(evaluated: tuple[Path, str]) -> None:
    table = subject_table(json.loads((evaluated[0] / "vnhsge/results.json").read_text()))
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:4]] == sorted(SUBJECTS)


def break_math(copies: Path) -> None:
    write_lines(copies / "others/minerva.jsonl", [{"question": "Why?", "answer": "1"}, {"question": "", "answer": "1"}])


def break_vnhsge(copies: Path) -> None:
    file = copies / "vnhsge/Dataset/VNHSGE-V/JSON format/eval/Physics/exam_2019.json"
    file.write_text(json.dumps([exam(0), {"Question": "Why?"}]))


def break_general_knowledge(copies: Path) -> None:
    write_lines(copies / "general_knowledge/train.jsonl", [{"Question": "Why?", "Reply": "So."}])


@pytest.mark.parametrize(
    ("breaks", "named"),
    [
        (break_math, ("minerva.jsonl", "row 1", "column question")),
        (break_vnhsge, ("exam_2019.json", "item 1", "key Choice")),
        (break_general_knowledge, ("general_knowledge", "Answer", "Reply")),
    ],
)
def test_a_bad_file_is_named_with_row_and_column_before_any_suite_runs(
    breaks: Callable[[Path], None], named: tuple[str, ...], tmp_path: Path
) -> None:
    copies = write_copies(tmp_path / "copies")
    breaks(copies)
    out = tmp_path / "eval"
    done = run(out, "--eval", "--data", SUITES, "--data_path", str(copies), check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("run.py: ")
    for word in named:
        assert word in message
    assert not list(out.rglob("items.jsonl"))
