"""The flags of run.py: a parser for all declared settings, with the command line overriding the flags of a file.

argparse rather than tyro, which has no one-line errors, no flags with optional values (--dry_run [full]) and no hidden
"not given" value.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from recipes.algorithms import AlgorithmFileError, algorithms, get_algorithm
from recipes.checks.algorithm_check import find_algorithm
from recipes.common.errors import ExperimentError, nearest
from recipes.common.values import as_text, text, wrong
from recipes.flags.config_file import algorithms_in, as_arguments, read_flags, read_yaml
from recipes.flags.effect import usual_stages
from recipes.settings.declare import GROUPS, Setting, by_name, canonical, declared, options_of
from recipes.settings.modes import PARTS
from recipes.settings.tasks import TASKS

STAGE_FILES = (".yaml", ".yml")
"""Suffixes of pipeline files."""

ELSEWHERE = {
    **dict.fromkeys(("steps", "max_steps", "total_steps", "num_steps", "total_training_steps"), "T sft_epochs epochs"),
    **dict.fromkeys(("learning_rate", "learningrate"), "lr"),
    **dict.fromkeys(("output_dir", "output", "save_dir", "out_dir"), "out"),
    **dict.fromkeys(("num_train_epochs", "num_epochs", "n_epochs"), "epochs sft_epochs"),
    **dict.fromkeys(("model_name_or_path", "model_name", "model_path", "base_model"), "model"),
    **dict.fromkeys(("dataset", "dataset_name", "train_file", "data_dir"), "data"),
    **dict.fromkeys(("num_generations", "group_size", "rollouts"), "n_rollout"),
    **dict.fromkeys(("train_batch_size", "per_device_train_batch_size", "global_batch_size"), "batch_size"),
    **dict.fromkeys(("lora_r", "lora"), "lora_rank"),
    **dict.fromkeys(("reward_fn", "reward_function", "reward_funcs"), "reward"),
    **dict.fromkeys(("algorithm", "method"), "algo"),
    **dict.fromkeys(("max_new_tokens", "max_completion_length", "max_tokens"), "max_response_length"),
    **dict.fromkeys(("num_gpus", "gpus", "n_gpus", "n_gpus_per_node"), "n_gpu"),
    **dict.fromkeys(("kl_beta", "kl_loss_coef"), "kl_coef beta"),
    **dict.fromkeys(("save_steps", "save_every"), "save_freq"),
    **dict.fromkeys(("eval_steps", "eval_freq", "val_freq"), "test_freq"),
}
"""Other trainers' names for our flags; the first that applies to the algorithm is suggested."""


def catalogue(*algos: str | None) -> dict[str, Setting]:
    """Every flag by the name of its setting.

    Args:
        algos: comma-separated algorithms; the user's own files add their options.

    Raises:
        ExperimentError: for a file whose algorithm cannot work.
    """
    found = {name: each for part in PARTS for name, each in declared(part).items() if each.flag}
    options: dict[str, Setting] = {}
    for algorithm in algorithms().values():
        options |= options_of(algorithm.name, algorithm.options)
    for name in _named(algos):
        # A missing file is refused when --algo is resolved.
        if name.endswith(".py") and Path(name).is_file():
            own = find_algorithm(name)
            options |= options_of(own.name, own.options)
    return found | options


def _named(algos: Iterable[str | None]) -> list[str]:
    names = [name for each in algos if each for name in ([each] if Path(each).is_file() else each.split(","))]
    return list(dict.fromkeys(names))


def _meant(word: str) -> str:
    """A suggestion of the flag that a word without one was meant for, if it is clear."""
    names = word.split(",")
    if all(name in TASKS for name in names):
        return f"; did you mean --data {word}?"
    with suppress(KeyError, AlgorithmFileError):
        for name in names:
            get_algorithm(name)
        return f"; did you mean --algo {word}?"
    return "."


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line with the probable flag; argparse would print all flags first."""

    settings: Mapping[str, Setting]

    groups: Collection[str]
    """Groups of all runs and of the requested algorithms' options."""

    takes: Callable[[Setting], bool]
    """Whether a setting has an effect on one of the requested algorithms."""

    words: Sequence[str] = ()
    """The words being parsed, flags and their values joined by =."""

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        self.words = spelled(args or [], self.settings)
        return super().parse_args(self.words, namespace)

    def error(self, message: str) -> NoReturn:
        odd = message.removeprefix("unrecognized arguments: ")
        if odd != message:
            flag = odd.partition(" ")[0].partition("=")[0]
            here = {
                f"--{each.spelling}": self.takes(each) for each in self.settings.values() if each.group in self.groups
            }
            known = nearest(flag, here)
            if any(f"'{name}'" in known and not takes for name, takes in here.items()):
                known += " It has no effect on this --algo."
            names = [f"--{name}" for name in ELSEWHERE.get(canonical(flag.lstrip("-")), "").split()]
            if elsewhere := next((name for name in names if here.get(name)), None):
                known = f"; use {elsewhere}."
            stray = self._listed(odd) or _meant(odd)
            what = f"{flag}: no such flag{known}" if odd.startswith("-") else f"{odd}: does not belong to a flag{stray}"
            message = f"{what} See run.py --help"
        if re.search(r"(^|')\+*\w+(\.\w+)+=", odd):
            message += "; give verl's settings at the end, after --"
        print(f"run.py: {message}", file=sys.stderr)
        sys.exit(2)

    def _listed(self, odd: str) -> str:
        """How to write several values, if the words follow a flag that takes a list; otherwise empty."""
        words = odd.split(" ")
        at = next((at for at, word in enumerate(self.words) if word == words[0]), 0)
        flag, equals, value = self.words[at - 1].partition("=") if at else ("", "", "")
        setting = by_name(self.settings).get(canonical(flag[2:])) if equals else None
        if setting is None or "," not in str(setting.metavar) or any(word.startswith("-") for word in words):
            return ""
        return f"; write several values as {flag} {','.join([value, *words])}."


def parser(
    *algos: str | None,
    shown: Callable[[Setting], bool] = lambda setting: True,
    helps: Callable[[Setting], str] = lambda setting: setting.help,
    **about: Any,
) -> argparse.ArgumentParser:
    """An argparse parser for the flags; a flag not given is None.

    Args:
        algos: as in `catalogue`.
        shown: whether to include a flag.
        helps: its text in --help.
        about: arguments of argparse.ArgumentParser.
    """
    root = _Parser(prog="run.py", allow_abbrev=False, add_help=False, **about)
    root.settings = catalogue(*algos)
    root.groups, root.takes = {each.group for each in root.settings.values()}, lambda _: True
    with suppress(ExperimentError):
        if asked := [find_algorithm(name) for name in _named(algos)]:
            root.groups = {*GROUPS, *(f"options of --algo {each.name}" for each in asked)}
            root.takes = lambda setting: any(setting.applies(each, usual_stages(each)) for each in asked)
    chosen = [each for each in root.settings.values() if shown(each)]
    for heading in dict.fromkeys([*GROUPS, *(each.group for each in chosen)]):
        group = root.add_argument_group(heading)
        for each in chosen:
            if each.group == heading:
                group.add_argument(f"--{each.spelling}", dest=each.name, help=helps(each), **_how(each))
    return root


def _how(setting: Setting) -> dict[str, Any]:
    if setting.switch:
        return {"action": "store_true", "default": None}
    optional = {} if setting.bare is None else {"nargs": "?", "const": setting.bare}
    return {"type": setting.read, "metavar": setting.metavar, **optional}


def spelled(words: Iterable[str], known: Mapping[str, Setting]) -> list[str]:
    """The words of a command line with flags as declared (_ for -, no aliases) and values joined by =, so that a value
    may start with - (--score_min -1e3)."""
    names = by_name(known)
    found: list[str] = []
    wanting = False
    for word in words:
        head, equals, text = word.partition("=")
        setting = names.get(canonical(head[2:])) if head.startswith("--") else None
        if wanting and not word.startswith("--"):
            found[-1] += f"={word}"
            wanting = False
        elif setting is None:
            found.append(word)
            wanting = False
        else:
            found.append(f"--{setting.spelling}{equals}{text}")
            wanting = not equals and not setting.switch
    return found


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    flags: dict[str, Any]
    """All flags by name, None if not given; `overrides` if there are any."""

    from_file: tuple[str, ...]
    """Flags from --config's file that the command line did not override, and its overrides as key=value."""


def read(words: Sequence[str], overrides: Sequence[str]) -> CommandLine:
    """The flags of a command line, which override those of its --config.

    Raises:
        ExperimentError: for a file that cannot be read or names an unknown flag.
        SystemExit: for an unknown flag or invalid value, after a message.
    """
    words = spelled(words, catalogue())
    file, pipeline = _given("config", words), _given("pipeline", words)
    values = read_flags(file) if file else {}
    stages = pipeline or values.get("pipeline")
    algos = [_given("algo", words), *algorithms_in(values), stages]
    if isinstance(stages, str) and stages.endswith(STAGE_FILES):
        algos += algorithms_in(read_yaml(Path(stages), "pipeline"))
    algos = [each for each in algos if isinstance(each, str) and _is_sound(each)]
    known = catalogue(*algos)
    words = spelled(words, known)
    from_file, also = as_arguments(file, values, known) if file else ([], [])
    flags = vars(parser(*algos).parse_args([*from_file, *words]))
    _refuse_twice(words)
    for name, value in flags.items():
        if value is not None and (why := wrong(name, value, known[name].check)):
            raise ExperimentError(why)
    if flags["out"] is not None and flags["idx"] is not None:
        raise ExperimentError("--idx only changes the default folder's name; with --out it has no effect, give one")
    changed = {key_of(each) for each in overrides}
    also = [each for each in also if key_of(each) not in changed]
    if both := (*also, *overrides):
        flags["overrides"] = both
    typed = {word.partition("=")[0] for word in words}
    kept = (word.partition("=")[0] for word in from_file)
    return CommandLine(flags, (*(canonical(word[2:]) for word in kept if word not in typed), *also))


def _refuse_twice(words: Iterable[str]) -> None:
    """Raise ExperimentError for a flag with two values, because the parser would take the last."""
    typed: dict[str, str] = {}
    for word in words:
        flag, _, value = word.partition("=")
        if flag.startswith("--") and typed.setdefault(flag, value) != value:
            one, other = (each or "(nothing)" for each in (typed[flag], value))
            raise ExperimentError(f"{flag} is given twice, with {one} and {other}; give one")


def key_of(override: str) -> str:
    """The verl setting that an override changes."""
    return override.lstrip("+").partition("=")[0]


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Flags by name as the words of a command line, without those not given; overrides come last, after --."""
    known = catalogue(flags.get("algo"))
    words: list[str] = []
    for name, value in flags.items():
        off = value is False and (known[name].kind is not bool or known[name].switch)
        if value is None or off or name == "overrides":
            continue
        words += [f"--{name}"] if value is True else [f"--{name}", as_text(value)]
    overrides = flags.get("overrides") or ()
    return [*words, *(("--", *overrides) if overrides else ())]


def _given(name: str, words: Iterable[str]) -> str | None:
    """The value of a flag that is read before the others; None if the parser will refuse it."""
    given = next((word.partition("=")[2] for word in reversed([*words]) if word.startswith(f"--{name}=")), None)
    return given if given is not None and _is_sound(given) else None


def _is_sound(value: str) -> bool:
    with suppress(argparse.ArgumentTypeError):
        return bool(text(value))
    return False
