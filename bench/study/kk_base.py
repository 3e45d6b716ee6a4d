"""Builds a tiny base for knights and knaves with 3 people, which writes worked solutions and has read none of the
lab's puzzles.

`python3 -m bench.study.kk_base` trains, measures and saves it with its card; the lab can then run `--data kk_logic`.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from data_prep.chain.base.train import Muon32
from data_prep.commands import Parser, folder, whole
from data_prep.kk_logic.generate import CLOSING, EXAMPLE, NAMES, OPENING, SPEECH, Problem, Space, generate, to_row
from data_prep.kk_logic.puzzle import MOST_PEOPLE, Claim, Key, Leaf
from data_prep.own_texts import COUNT
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS
from data_prep.tiny_base.build import publish
from data_prep.tiny_base.measure import complete
from data_prep.tiny_base.tokenizer import EOS, byte_symbols, to_symbols, whole_piece_tokenizer
from data_prep.tiny_base.train import Shape, fit, llama
from recipes import ROOT
from reward_fns import compute_score

FOLDER: Final = ROOT / "out/study/bases/tiny-kk"
"""Where the base is built, unless told otherwise."""
SPACE: Final = Space((3,))
TRAIN_ROWS: Final = 4096
TEST_ROWS: Final = 128
"""The lab's data, `python3 -m data_prep kk_logic --people 3 --seed 0 --n_train 4096 --n_test 128`; no text is about a
puzzle of these."""
MEASURED: Final = 512
"""So many of the first test puzzles, which no text is about either, are what the card's accuracies are of."""
LONGEST: Final = 224
"""Tokens that an answer may have; worked solutions have up to about 200."""
POOL: Final = {2: 70, 3: 6000}
"""Different puzzles that the texts are about, by people, each told again and again with other people."""


@dataclass(frozen=True)
class Settings(Shape):
    """two_share: of the training, in which puzzles have 2 people: from these the model learns to look up who said what,
    which puzzles with 3 alone hardly teach it. constant_share: of the training, after which the learning rates fall."""

    steps: int = 3000
    batch_size: int = 16
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    context: int = 1024
    two_share: float = 1 / 3
    constant_share: float = 0.7


def pieces() -> list[str]:
    """The texts that are single tokens: constant passages, names, and the words between them."""
    before, after = completion_prompt(Question("\0", EXAMPLE)).split("\0")
    opening, ends = OPENING.split("{people}")
    found = [before + opening.format(count=count) for count in range(2, MOST_PEOPLE + 1)]
    # A statement always has a space after it, which joins it to the next one or to the closing question.
    found += [CLOSING.lstrip() + after, ends, ", ", ", and "]
    found += [piece for way in SPEECH for piece in re.split(r"\{\w+\}", way + " ") if piece]
    found += [" is a knight", " is a knave", " is not a knight", " is not a knave"]
    found += [" and ", " or ", "If ", " then ", " if and only if "]
    found += ["Assume ", "We have exhausted all possibilities for ", ", so let us go back and reconsider ", ".\n"]
    found += [f" cannot be a {role}, because this would contradict the " for role in ("knight", "knave")]
    for false in ("", "false "):
        found += [f"No contradiction is found in their {false}claim that "]
        found += [f"{false}claim of their own that ", f"{false}claim of "]
    found += [" that ", "Therefore, ", "\n", *(f"({number}) " for number in range(1, MOST_PEOPLE + 1))]
    return [*dict.fromkeys([*found, ANSWER_OPENS, ANSWER_CLOSES, *NAMES])]


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Fast tokenizer of `pieces`, longer ones first; any other text is spelled in bytes."""
    ordered = dict.fromkeys([EOS, *byte_symbols(), *map(to_symbols, pieces())])
    pattern = "|".join(map(re.escape, sorted(pieces(), key=len, reverse=True)))
    return whole_piece_tokenizer({token: index for index, token in enumerate(ordered)}, pattern, max_length)


def retold(rng: random.Random, problem: Problem) -> Problem:
    """The same puzzle about other people, who speak in another order and in other ways."""
    order = rng.sample(range(len(problem.claims)), len(problem.claims))
    said = (problem.claims[person] for person in order)
    return Problem(
        names=tuple(rng.sample(NAMES, len(order))),
        claims=tuple(Claim(form, tuple(Leaf(order.index(a), b) for a, b in leaves)) for form, leaves in said),
        speech=tuple(rng.randrange(len(SPEECH)) for _ in order),
        solution=tuple(problem.solution[person] for person in order),
    )


def text(problem: Problem) -> tuple[str, str]:
    """(prompt, solution)."""
    row = to_row(problem, 0, "train")
    return row["prompt"][0]["content"], row["answer"]


def held_out() -> list[Problem]:
    """The puzzles that the base is measured on; the lab's test puzzles are the first of these."""
    return generate(MEASURED, 0, "test", SPACE)


@lru_cache(maxsize=1)
def unread() -> frozenset[Key]:
    """The puzzles that no text is about: the held-out ones, and those that the lab's methods train on."""
    tested = {problem.key for problem in generate(TEST_ROWS, 0, "test", SPACE)}
    trained = generate(TRAIN_ROWS, 0, "train", SPACE, exclude=tested)
    return frozenset(problem.key for problem in (*held_out(), *trained))


def drawn(rng: random.Random, people: int) -> Iterator[Problem]:
    """Endless puzzles, none of the unread ones."""
    pool = generate(POOL[people], 0, "base", Space((people,)), exclude=unread())
    while True:
        yield retold(rng, rng.choice(pool))


def texts(seed: str, people: int) -> Iterator[tuple[str, str]]:
    """Endless (prompt, solution) texts about puzzles that are not among the unread."""
    return map(text, drawn(random.Random(f"kk base {seed} {people}"), people))


def batches(tokenizer: Any, made: Iterator[tuple[str, str]], rows: int) -> Iterator[tuple[Tensor, int]]:
    """Endless (tokens (rows, length), prompt length), shorter solutions padded with the end token."""
    waiting: dict[int, list[list[int]]] = {}
    for asked, solution in made:
        prompt, end = tokenizer.encode(asked), tokenizer.eos_token_id
        group = waiting.setdefault(len(prompt), [])
        group.append([*prompt, *tokenizer.encode(solution), end])
        # Several batches at once, so that solutions of similar length meet and little is padding.
        if len(group) == 4 * rows:
            group.sort(key=len)
            for at in range(0, len(group), rows):
                part = group[at : at + rows]
                yield torch.tensor([row + [end] * (len(part[-1]) - len(row)) for row in part]), len(prompt)
            group.clear()


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, settings: Settings, seed: int) -> None:
    """Trains `model` in place."""

    def scale(step: int) -> float:
        left = (1 - step / settings.steps) / (1 - settings.constant_share)
        return min(1.0, (step + 1) / settings.warmup_steps, max(0.01, left))

    begun = round(settings.two_share * settings.steps)
    two, three = (batches(tokenizer, texts(f"{seed}", people), settings.batch_size) for people in (2, 3))
    fit(model, settings, Muon32, scale, chain(islice(two, begun), three))


def accuracy(model: Any, tokenizer: Any, problems: Sequence[Problem], temperature: float) -> float:
    """Share of right answers, one per problem; temperature 0 is greedy."""
    torch.manual_seed(0)
    groups: dict[int, list[tuple[list[int], Any]]] = {}
    for row in (to_row(problem, 0, "test") for problem in problems):
        ids = tokenizer.encode(row["prompt"][0]["content"])
        groups.setdefault(len(ids), []).append((ids, row["reward_model"]["ground_truth"]))
    right = 0
    for group in groups.values():
        tokens = complete(model, torch.tensor([ids for ids, _ in group]), temperature, LONGEST)
        for text, (_, truth) in zip(tokenizer.batch_decode(tokens, skip_special_tokens=True), group, strict=True):
            right += compute_score("kk_logic", text, truth)["acc"] == 1.0
    return right / len(problems)


def build(out: Path, seed: int, settings: Settings) -> dict[str, Any]:
    """Trains, saves to `out` (replacing an existing folder atomically), measures what was saved; returns the card."""

    def trained() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        tokenizer = build_tokenizer(settings.context)
        model = llama(tokenizer, settings)
        train(model, tokenizer, settings, seed)
        return model, tokenizer

    def measured(model: Any, tokenizer: Any) -> dict[str, float]:
        return {way: accuracy(model, tokenizer, held_out(), at) for way, at in (("greedy", 0.0), ("sampled", 1.0))}

    flags = f"--out {out} --seed {seed} --steps {settings.steps}"
    own = [*islice(texts("own texts", 3), COUNT)]
    about = {"training": dataclasses.asdict(settings)}
    return publish(out, seed, trained, measured, f"python3 -m bench.study.kk_base {flags}", about, own)


def build_where_missing() -> None:
    """Build the base in FOLDER (about ten minutes of one core), where there is none."""
    if not FOLDER.exists():
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        build(FOLDER, 0, Settings())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: builds the model and prints its card."""
    parser = Parser(prog="python3 -m bench.study.kk_base", description=__doc__)
    parser.add_argument("--out", type=folder, default=FOLDER, help="model folder to write")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--steps", type=whole(1), default=Settings.steps, help="training steps (fewer for a quick try)")
    options = parser.parse_args(arguments)
    settings = dataclasses.replace(Settings(), steps=options.steps)
    print(json.dumps(build(options.out, options.seed, settings), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
