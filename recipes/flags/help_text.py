"""Documentation of the flags: --help (for an algorithm or mode, the flags that apply), completion, docs/flags.md."""

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_prep.prompt_styles import STYLES
from recipes import ROOT
from recipes.algorithms import Algorithm, algorithms
from recipes.checks.algorithm_check import find_algorithm
from recipes.common.machine import gpu_count
from recipes.common.values import as_text
from recipes.flags.effect import SAME_FOR_SFT, usual_stages
from recipes.flags.parser import catalogue, parser, spelled
from recipes.flags.resolve import build_experiment, default_profile
from recipes.settings.applies import everywhere
from recipes.settings.declare import GROUPS, From, Setting, declared
from recipes.settings.modes import Evaluation, Mode, Several
from recipes.settings.presets import PIPELINES, TABLES
from recipes.settings.profiles import PROFILES, Profile
from recipes.settings.tasks import TASKS
from recipes.settings.trackers import LOGGERS
from reward_fns import RANDOM, REWARDS

PAGE = ROOT / "docs/flags.md"

_NAMES: dict[str, Callable[[], Mapping[str, str]]] = {
    "algo": lambda: {each.name: each.title for each in algorithms().values()},
    "data": lambda: {each.name: each.title for each in TASKS.values()},
    "profile": lambda: {each.name: each.title for each in PROFILES.values()},
    "prompt_style": lambda: {each.name: each.title for each in STYLES.values()},
    "reward": lambda: {**dict.fromkeys(REWARDS, ""), RANDOM: "a control for any task"},
    "logger": lambda: dict.fromkeys(LOGGERS, ""),
    "reproduce": lambda: {name: preset["title"] for name, preset in TABLES.items()},
    "pipeline": lambda: dict.fromkeys(PIPELINES, ""),
}
"""Named values of flags, with descriptions."""


def help_text(words: Sequence[str]) -> str:
    """--help, given the other words of the command line.

    Raises:
        ExperimentError: for an unknown --algo.
    """
    known = vars(_lenient().parse_known_args(spelled(words, catalogue()))[0])
    algorithm = find_algorithm(known["algo"] or "uft")
    defaults = _defaults(known["algo"] or "uft", algorithm, known["profile"])
    mode = next((name for name in declared(Mode) if known[name]), None)

    def shown(each: Setting) -> bool:
        if mode == "eval":
            return each.evaluates or each.name == "eval"
        if known["algo"] is None:
            return True
        alone = declared(Evaluation).keys() | (set() if mode else declared(Several).keys() | declared(Mode).keys())
        return each.name not in alone and _applies(each, algorithm)

    def helps(each: Setting) -> str:
        value = defaults.get(each.name, each.default) if _applies(each, algorithm) else each.default
        aliases = f" (also --{', --'.join(each.aliases)})" if each.aliases else ""
        told = _told(value)
        return f"{each.help}{aliases}{f' [{told}]' if told else ''}".replace("%", "%%")

    of = f" of --algo {algorithm.name}" if known["algo"] else ""
    more = "" if mode or known["algo"] else " --algo NAME --help and --eval --help show the flags that apply to them."
    root = parser(
        known["algo"],
        shown=shown,
        helps=helps,
        usage="python3 run.py [--flag value ...] [-- key=value ...]",
        description=f"Defaults{of} in brackets, for {TASKS[_task(algorithm)].name} and this machine.{more}",
        epilog=_names(lambda name: shown(catalogue()[name])),
        formatter_class=_Formatter,
    )
    return root.format_help().rstrip()


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(120, shutil.get_terminal_size((120, 24)).columns))


def _lenient() -> argparse.ArgumentParser:
    """Parses only what --help depends on; anything else is allowed."""
    root = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("algo", "profile", "reproduce", "pipeline"):
        root.add_argument(f"--{name}", nargs="?")
    for name in declared(Mode).keys() - {"reproduce", "pipeline"}:
        root.add_argument(f"--{name}", action="store_true")
    return root


def _task(algorithm: Algorithm) -> str:
    return "countdown_preference" if algorithm.method else "countdown"


def _defaults(algo: str, algorithm: Algorithm, profile: str | None) -> dict[str, Any]:
    """The default of each flag on this machine."""
    e = build_experiment({"algo": algo, "data": _task(algorithm)}, default_profile(gpu_count(), profile))
    values = {**vars(e.alignment), **vars(e), **e.options}
    if e.stages == ("alignment",):
        values |= {name: getattr(e.alignment, name) for name in ("lr", "batch_size")}
    if e.stages == ("sft",):
        values |= {short: values[long] for short, long in SAME_FOR_SFT}
    return values


def _applies(each: Setting, algorithm: Algorithm) -> bool:
    options = f"options of --algo {algorithm.name}"
    return each.applies(algorithm, usual_stages(algorithm)) and (each.group in GROUPS or each.group == options)


def _told(value: Any) -> str:
    if isinstance(value, From):
        return value.value
    return "" if value is None or value is False else f"{value:g}" if isinstance(value, float) else as_text(value)


def _names(shown: Callable[[str], bool]) -> str:
    lines = []
    for flag, names in _NAMES.items():
        if not shown(flag):
            continue
        found = names()
        if any(found.values()):
            width = max(map(len, found))
            lines += ["", f"--{flag}:", *(f"  {name:<{width}}  {title}" for name, title in found.items())]
        else:
            lines += ["", f"--{flag}: {', '.join(found)}"]
    return "\n".join(lines).strip()


def completion() -> str:
    """Bash completion: flags after -, otherwise files."""
    flags = " ".join(f"--{each.spelling}" for each in catalogue().values())
    return f"complete -o default -W '{flags}' run.py ./run.py"


def page() -> str:
    """docs/flags.md: every flag with its default and what it affects."""
    lines = [
        "# Flags",
        "",
        "Generated by `python3 -m recipes.flags.help_text` from the settings' declarations.",
        "`python3 run.py --help` shows this machine's defaults, `--algo NAME --help` those of an algorithm. `-` and",
        "`_` are interchangeable in flag names. `--config FILE.yaml` reads flags from a file of `name: value` lines.",
        "Options of a single algorithm are in its help and on its page ([algorithms](algorithms/README.md)).",
    ]
    known = catalogue()
    for group in GROUPS:
        lines += ["", f"## {group[0].upper()}{group[1:]}", "", "| flag | default | description | affects |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(each) for each in known.values() if each.group == group]
    return "\n".join(lines) + "\n"


def _row(each: Setting) -> str:
    names = " ".join(f"`--{name}`" for name in (each.spelling, *each.aliases))
    value = "" if each.switch or each.kind is bool else f" `{each.metavar}`"
    cells = (names + value, _default(each), each.help.replace(" (listed below)", ""), _where(each))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(each: Setting) -> str:
    if not isinstance(each.default, From) or each.name not in Profile.__dataclass_fields__:
        return _told(each.default)
    values = {profile.name: _told(getattr(profile, each.name)) for profile in PROFILES.values()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    usual = max(values.values(), key=[*values.values()].count)
    others = ", ".join(f"{value} on {name}" for name, value in values.items() if value != usual)
    return f"{usual}; {others}" if len(others) < 40 else each.default.value


def _where(each: Setting) -> str:
    if each.name in declared(Evaluation):
        return "`--eval`"
    if each.name in declared(Several):
        return "`--sweep`, `--reproduce`"
    found = each.applies.__doc__ or ""
    return f"{found}, `--eval`" if each.evaluates and found != everywhere.__doc__ else found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
