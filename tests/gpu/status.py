"""The parts of docs/gpu_status.md that commands write, each between two comments."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATUS = ROOT / "docs/gpu_status.md"


def with_section(text: str, command: str, lines: list[str]) -> str:
    """`text` with these lines in the part that `command` writes. Raises ValueError where it has no such part."""
    begin, end = f"<!-- written by {command} -->\n", f"<!-- end of {command} -->\n"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"{STATUS}: put the lines {begin.strip()} and {end.strip()} where {command} is to write")
    return "".join([before, begin, *(f"{line}\n" for line in lines), end, after])


def write_section(command: str, lines: list[str]) -> None:
    """Write them into docs/gpu_status.md."""
    STATUS.write_text(with_section(STATUS.read_text(encoding="utf-8"), command, lines), encoding="utf-8")
