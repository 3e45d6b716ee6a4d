"""A profile of kk_logic rows: people, forms of statements, knights, ways of speaking, lengths of hints.
Comparing two profiles shows whether generated data resembles the published data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from data_prep.kk_logic.generate import SPEECH
from data_prep.kk_logic.puzzle import AFFIRM, Claim, mentioned, read_statements, sentence
from data_prep.prompt_styles import read_completion
from data_prep.schema import Row

_OPENINGS = ("Assume", "No contradiction", "We have exhausted")


def profile(rows: Sequence[Row]) -> dict[str, float]:
    """Features of the rows; names that start with "share" are shares in 0..1 of their group, the others means."""
    people: Counter[str] = Counter()
    forms: Counter[str] = Counter()
    about: Counter[str] = Counter()
    speech: Counter[str] = Counter()
    hints: dict[int, list[tuple[int, int, int]]] = {}
    claims_in_all = knights = depth = 0
    for row in rows:
        truth = row["reward_model"]["ground_truth"]
        names = truth["names"]
        claims = read_statements(truth["statements"], len(names))
        people[f"share of puzzles with {len(names)} people"] += 1
        claims_in_all += len(names)
        knights += sum(truth["solution"])
        for speaker, claim in enumerate(claims):
            forms[f"share of statements: {claim.form}"] += 1
            depth += claim.form != AFFIRM
            about[f"share of statements about {_about(claim, speaker)}"] += 1
        speech.update(f"share of speech: {frame}" for frame in _speech(row, claims))
        steps = [step for step in row["hint"] if "cannot be a" in step or step.startswith(_OPENINGS)]
        backward = sum(step.startswith("We have exhausted") for step in steps)
        hints.setdefault(len(names), []).append((len(row["hint"]), len("".join(row["hint"])), backward))
    table = {
        name: count / group.total() for group in (people, forms, about, speech) for name, count in sorted(group.items())
    }
    table["share of knights among people"] = knights / claims_in_all
    table["depth of statements"] = depth / claims_in_all
    for count, measured in sorted(hints.items()):
        for name, values in zip(
            ("hint segments", "hint characters", "steps back"), zip(*measured, strict=True), strict=True
        ):
            table[f"{count} people: {name}"] = sum(values) / len(values)
    return table


def _about(claim: Claim, speaker: int) -> str:
    who = mentioned(claim)
    return ("the speaker and " if speaker in who else "") + f"{len(who) - (speaker in who)} other people"


def _speech(row: Row, claims: Sequence[Claim]) -> list[str]:
    question = read_completion(row["prompt"][0]["content"])
    text = "" if question is None else question.text
    names = row["reward_model"]["ground_truth"]["names"]
    found = []
    for name, claim in zip(names, claims, strict=True):
        said = sentence(claim, names)
        ways = (frame for frame in SPEECH if frame.format(name=name, claim=said) in text)
        found.append(next(ways, "another way"))
    return found
