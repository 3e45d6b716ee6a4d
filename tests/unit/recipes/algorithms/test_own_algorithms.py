"""A user's algorithm file that cannot work is refused in one line that names file and field, before anything starts."""

import re
import time
from functools import partial
from pathlib import Path

import pytest

from recipes.algorithms import AlgorithmFileError, algorithms, get_algorithm, time_limit
from recipes.checks.algorithm_check import refuse_unworkable
from recipes.common.errors import ExperimentError
from run import main
from tests import ROOT
from tests.helpers.groups import settings

HEAD = """
import math
from dataclasses import dataclass, field
from functools import partial
from recipes.algorithms.base import *
from recipes.algorithms.base import Algorithm, Bare, Demonstration, Hint
known = dict(name="mine", title="Mine", paper="-", equation="-", stages=("rl",), needs=frozenset({"group"}))
"""


def written(folder: Path, text: str, name: str = "mine") -> str:
    file = folder / f"{name}.py"
    file.write_text(HEAD + text, encoding="utf-8")
    return str(file)


def field(**changed: str) -> str:
    """A file whose ALGORITHM has these fields, as Python."""
    values = ", ".join(f"{name}={text}" for name, text in changed.items())
    return f"ALGORITHM = Algorithm(**{{**known, **dict({values})}})\n"


def draws(body: str, **also: str) -> str:
    return f"def rollout(at, s, rng):\n    {body}\n" + field(rollout="rollout", **also)


def options(body: str, **also: str) -> str:
    """Options, and a hook that reads them."""
    read = ", ".join(f"s.{name}" for name in re.findall(r"^\s*(\w+)\b", body, re.M))
    also = {"metrics": f"lambda step, s: {{}} if s else [{read}]", **also}
    return f"@dataclass(frozen=True)\nclass Options:\n    {body}\n" + field(options="Options", **also)


ODD = {
    "stages that are none": (field(stages="('foo',)"), "stages=('foo',): must be one of ('rl',), ('sft',)"),
    "no stages": (field(stages="()"), "stages=(): must be one of"),
    "stages as a text": (field(stages="'rl'"), "stages='rl': must be one of"),
    "stages as a list": (field(stages="['rl']"), "stages=['rl']: must be one of"),
    "stages the other way": (field(stages="('rl', 'sft')"), "must be one of"),
    "alignment without a method": (field(stages="('alignment',)"), "method=None with stages=('alignment',)"),
    "a method without alignment": (field(method="'dpo'"), "method='dpo' with stages=('rl',)"),
    "a method that is none": (field(stages="('alignment',)", method="'ipo'"), "method='ipo': must be one of sft, dpo"),
    "needs that are none": (field(needs="frozenset({'teacher'})"), "must be a frozenset of critic, reference, group"),
    "needs as a text": (field(needs="'group'"), "needs='group': must be a frozenset"),
    "a norm that is none": (field(loss_norm="'rows'"), "loss_norm='rows': must be one of tokens, length"),
    "fewer than no demonstrations": (
        field(demonstrations="-1"),
        "demonstrations=-1: must be a whole number, 0 or more",
    ),
    "half a demonstration": (field(demonstrations="0.5"), "demonstrations=0.5: must be a whole number"),
    "demonstrations by nobody": (field(demonstrations="1"), "demonstrations=1: rollout returns none"),
    "demonstrations forgotten": (
        draws("return [Bare()] * (s.n_rollout + 1)", demonstrations="1"),
        "demonstrations=1: rollout returns none",
    ),
    "no name": (field(name="''"), "name='': folders are named after it"),
    "a name of blanks": (field(name="'my own'"), "name='my own': folders are named after it"),
    "a name of two": (field(name="'a,b'"), "name='a,b': folders are named after it"),
    "a name with a folder": (field(name="'../up'"), "name='../up': folders are named after it"),
    "a name too long for a folder": (field(name="'x' * 300"), "folders are named after it"),
    "a name that is a number": (field(name="3"), "name=3: must be a one-line text"),
    "a built-in name": (field(name="'uft'"), "name='uft': uft is an algorithm of this repository"),
    "a built-in alias": (field(name="'grpo'"), "name='grpo': grpo is an algorithm of this repository"),
    "aliases as a text": (field(aliases="'abc'"), "aliases='abc': must be a tuple of names"),
    "an alias of another": (field(aliases="('uft',)"), "aliases=('uft',): uft is an algorithm of this repository"),
    "a title of two lines": (field(title="'a\\nb'"), "title='a\\nb': must be a one-line text"),
    "beta of nothing": (field(beta="0"), "beta=0: must be above 0"),
    "beta as a text": (field(beta="'.1'"), "beta='.1': must be a number"),
    "a rate below zero": (field(alignment_lr="-1e-5"), "alignment_lr=-1e-05: must be above 0"),
    "no switch": (field(hints_in_prompt="'no'"), "hints_in_prompt='no': must be True or False"),
    # hooks
    "a hook of two arguments": (
        "def rollout(at, s):\n    return Bare()\n" + field(rollout="rollout"),
        "rollout(at, s): is called as rollout(at, s, rng)",
    ),
    "a hook of too many": (
        field(weigh="lambda group, s, more: None"),
        "weigh(group, s, more): is called as weigh(group, s)",
    ),
    "a hook that is none": (field(rollout="None"), "rollout=None: must be a function rollout(at, s, rng)"),
    "a hook that is called": (field(remember="3"), "remember=3: must be a function remember(group, past, common, s)"),
    "a hook that waits": (
        "async def rollout(at, s, rng):\n    return Bare()\n" + field(rollout="rollout"),
        "rollout: must be a plain function rollout(at, s, rng), without async or yield",
    ),
    "a shape inside another function": (
        field(stages="('sft',)", supervised="lambda p: p"),
        "supervised: the shape <lambda> of a term must be a top-level function of its file",
    ),
    "metrics that are none": (field(metrics="lambda step, s: [1.0]"), "metrics at step 1 returns [1.0]: must be"),
    "a partial for a shape": (
        field(stages="('sft',)", supervised="partial(pow, 2)"),
        "must be a function of its file",
    ),
    "metrics by number": (field(metrics="lambda step, s: {1: 1.0}"), "must be a dict of numbers"),
    "metrics with blanks": (field(metrics="lambda step, s: {'a b': 1.0}"), "returns a metric 'a b': use only letters"),
    "metrics of numpy": (
        "import numpy\n" + field(metrics="lambda step, s: {'x': numpy.float32(1)}"),
        "must be a finite number; write float(x)",
    ),
    "metrics that fail": (field(metrics="lambda step, s: {'x': s.nothing}"), "metrics: AttributeError"),
    # what is drawn
    "an error in a draw": (draws("return Hint(share=1 / (at.step - 1))"), "line 9: rollout: ZeroDivisionError"),
    "a setting that is none": (draws("return Hint(s.T_hnt)"), "rollout: AttributeError"),
    "the number of steps": (draws("return Hint(s.T // 2)"), "has no attribute 'T'; s has T_hint, sft_loss_coef"),
    "a reference that is none": (
        "def weigh(group, s):\n    return Weights(group.old - group.ref)\n"
        + field(weigh="weigh", settings="{'kl_coef': 0}"),
        "; ref is None without a reference model; write needs=frozenset({'reference'}), or set --kl_coef",
    ),
    "a context that is none": (
        "def inner(group):\n    return Weights(group.old - group.rescored)\n"
        "def weigh(group, s):\n    return inner(group)\n" + field(weigh="weigh"),
        "; rescored is None without a context; give the algorithm one",
    ),
    "only demonstrations": (draws("return Demonstration()"), "1 Demonstration() among 1 plans, but demonstrations=0"),
    "all demonstrations": (
        draws("return [Demonstration()] * (s.n_rollout + 1)", demonstrations="1"),
        "Demonstration() among 5 plans, but demonstrations=1",
    ),
    "one plan in a list": (draws("return [Bare()]"), "gives a list of 1: must have 4 plans"),
    "too few plans": (draws("return [Bare()] * 2"), "gives a list of 2: must have 4 plans"),
    "no plans": (draws("return []"), "gives a list of 0: must have 4 plans"),
    "no plan": (draws("return None"), "gives None: must be Bare(), Hint(...) or Demonstration()"),
    "a plan's class": (draws("return Bare"), "must be Bare(), Hint(...) or Demonstration()"),
    "plans in a tuple": (draws("return (Bare(),) * 4"), "or a list of these"),
    "a share for segments": (draws("return Hint(.5)"), "segments=0.5: must be an integer of at least 0; Hint("),
    "a share past the end": (draws("return Hint(share=1.5)"), "must be a number from 0 to 1"),
    "a share that is none": (draws("return Hint(share=math.nan)"), "must be a number from 0 to 1"),
    "two lengths of a hint": (draws("return Hint(2, share=.5)"), "segments=2 and share=0.5: set only one of them"),
    "a hint nowhere": (draws("return Hint(1, where='end')"), "where='end': must be 'response' or 'prompt'"),
    "a hint in the question": (draws("return Hint(1, where='prompt')"), "set hints_in_prompt=True"),
    "a wrap without the hint": (
        draws("return Hint(1, where='prompt', wrap='{question}')", hints_in_prompt="True"),
        "wrap='{question}': must be a string that contains {question} and {hint}",
    ),
    "other plans each time": (
        "import random\n" + draws("return Hint(share=random.random())"),
        "rollout returns other plans when called again",
    ),
    "settings changed": (draws("s.n_rollout = 2\n    return [Bare()] * 2"), "rollout or metrics changes s"),
    "an end in a draw": (draws("raise SystemExit(0)"), "line 9: rollout: SystemExit: 0"),
    # options
    "options of another kind": (field(options="{'a': 1}"), "options={'a': 1}: must be a @dataclass class"),
    "options without a decorator": ("class Options:\n    a: float = 1.0\n" + field(options="Options"), "@dataclass"),
    "an option without a type": (options("gate = 0.5"), "its option 'gate' has no type"),
    "an option without a default": (options("gate: float"), "all fields of options need defaults"),
    "an option that nobody reads": (options("gate: float = 0.5", metrics="lambda step, s: {}"), "no hook reads s."),
    "an option with unknown metadata": (
        options("gate: float = field(default=.5, metadata={'hlp': 'x'})"),
        "its option 'gate': metadata has 'hlp', which nothing reads; did you mean 'help'?",
    ),
    "an option mistyped in a hook": (
        options("gate: float = 0.5", metrics="lambda step, s: {'x': s.gates}"),
        "its option 'gate': no hook reads s.gate; one reads s.gates",
    ),
    "an option of a text that is no choice": (
        options("gate: str = field(default='ajar', metadata={'choices': ('open', 'shut')})"),
        "its option 'gate': the default 'ajar': must be one of open, shut",
    ),
    "an option of a set": (
        options("gate: set = field(default_factory=set)"),
        "the default set() has an unsupported type",
    ),
    "an option of None": (options("gate: float | None = None"), "the default None has an unsupported type"),
    "an option past all": (options("gate: float = math.inf"), "the default inf must be a finite number"),
    "an option of another type": (options("gate: float = 'a'"), "is declared as float, but its default is 'a'"),
    "an option like a flag": (options("lr: float = 0.5"), "its option 'lr' is a flag of every run"),
    "an option like an alias": (options("n_rollouts: int = 5"), "its option 'n_rollouts' is a flag of every run"),
    "an option like --help": (options("help: int = 5"), "its option 'help' is a flag of every run"),
    "an option without a flag": (options("overrides: str = ''"), "its option 'overrides' is a flag of every run"),
    # settings
    "a setting of another kind": (field(settings="3"), "settings=3: must be a dict of flags and their defaults"),
    "an unknown setting": (
        field(settings="{'kl_cof': 0.1}"),
        "settings: 'kl_cof' is not a flag whose default it can set; did",
    ),
    "a setting as a text": (field(settings="{'kl_coef': '0.1'}"), "settings: kl_coef='0.1': must be a number"),
    "half a rollout": (field(settings="{'n_rollout': 2.5}"), "settings: n_rollout=2.5: must be of type int"),
    "a setting out of range": (field(settings="{'kl_coef': -1}"), "settings: kl_coef=-1: must not be negative"),
    "a setting that is no number": (field(settings="{'kl_coef': math.nan}"), "kl_coef=nan: must be a finite number"),
    "a choice that is none": (field(settings="{'hints': 'all'}"), "settings: hints='all': must be one of own, sham"),
    "a setting without effect": (field(settings="{'critic_lr': 1.0}"), "settings: 'critic_lr' has no effect on it"),
    "a setting of numbers": (field(settings="{'logger': (1,)}"), "settings: logger=(1,): must be a tuple of strings"),
    "a setting of data": (
        field(settings="{'data': 'math'}"),
        "settings: 'data' is not a flag whose default it can set",
    ),
    "a setting that is a field": (field(settings="{'beta': 1.0}"), "write beta=1.0 there"),
    "an option as a setting": (
        options("gate: float = 0.5", settings="{'gate': 1.0}"),
        "'gate' is one of its options",
    ),
    # files
    "an end at import": ("import sys\nsys.exit()\n", "line 9: cannot be loaded: SystemExit"),
    "an end with success": ("raise SystemExit(0)\n", "line 8: cannot be loaded: SystemExit: 0"),
    "an error of two lines": ("raise ValueError('a\\nb')\n", "line 8: cannot be loaded: ValueError: a b"),
    "no Python": ("def rollout(:\n", "line 8: cannot be loaded: SyntaxError: invalid syntax"),
    "a module beside it": ("import beside\n", "its folder is not on the import path: merge the two files"),
    "a package that is not there": ("import nosuch\n", "line 8: cannot be loaded: ModuleNotFoundError: No module"),
    "a field that is none": (field(stage="1"), "cannot be loaded: TypeError"),
    "a class": ("ALGORITHM = Algorithm\n", "its ALGORITHM is a class"),
    "a name that is not imported, in a hook of scored rollouts": (
        "def weigh(group, s):\n    return Wieghts()\n" + field(weigh="weigh"),
        "weigh: NameError: name 'Wieghts' is not defined",
    ),
    "a hook without a return": ("def weigh(group, s):\n    pass\n" + field(weigh="weigh"), "weigh returns None"),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_file_that_cannot_work_is_refused_in_one_line(
    odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, says = ODD[odd]
    file = written(tmp_path, text)
    (tmp_path / "beside.py").touch()
    assert main(["--algo", file, "--profile", "cpu", "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert said.startswith("run.py: ")
    assert says in said
    assert file in said


READS = """
class Draw:
    def NAME(self, s):
        return Hint(share=s.gate)
DRAW = Draw()
def rollout(at, s, rng):
    return USE(s)
""" + options("gate: float = 0.5", rollout="rollout", metrics="lambda step, s: {}")

GOOD = {
    "nothing of its own": field(),
    "a name with signs": field(name="'My-own_2.1'"),
    "sft": field(stages="('sft',)", needs="frozenset()"),
    "a partial": "def draw(n, at, s, rng):\n    return Hint(n)\n" + field(rollout="partial(draw, 1)"),
    "a hook with a default": "def rollout(at, s, rng, n=1):\n    return Hint(n)\n" + field(rollout="rollout"),
    "numbers of numpy": "import numpy as np\n"
    + draws("return Hint(np.int64(at.segments)) if at.step % 2 else Hint(share=np.float32(0.5))"),
    "demonstrations": draws("return [*[Bare()] * s.n_rollout, DEMO]", demonstrations="1") + "DEMO = Demonstration()\n",
    "demonstrations of the past": draws(
        "return [*[Bare()] * s.n_rollout, Demonstration() if at.past else Bare()]", demonstrations="1"
    ),
    "options of all kinds": options("one: bool = False\n    two: int = 1\n    three: float = 1\n    four: str = 'a'"),
    "another's option": options("gate: str = 'shut'"),
    "options with more in them": options("LIMIT = (1, 2)\n    one: float = 0.5\n    _hidden = 3"),
    "an option that an object reads": READS.replace("NAME", "__call__").replace("USE", "DRAW"),
    "an option that a method reads": READS.replace("NAME", "go").replace("USE", "DRAW.go"),
    "an option that a new object reads": READS.replace("NAME", "go").replace("USE", "Draw().go"),
    "settings": field(settings="{'kl_coef': 0, 'n_rollout': 3, 'logger': ('console',)}"),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_file_that_works_is_taken(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--algo", written(tmp_path, GOOD[good]), "--profile", "cpu", "--dry_run"]) == 0, capsys.readouterr()


def test_an_option_is_one_of_its_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, options("gate: str = field(default='shut', metadata={'choices': ('open', 'shut')})"))
    assert main(["--algo", file, "--gate", "open", "--profile", "cpu", "--dry_run"]) == 0
    with pytest.raises(SystemExit):
        main(["--algo", file, "--gate", "ajar", "--profile", "cpu", "--dry_run"])
    with pytest.raises(SystemExit):
        main(["--algo", file, "--gat", "open", "--gaet_coef", "1"])
    said = capsys.readouterr().err
    assert "--gate: invalid choice: 'ajar' (choose from 'open', 'shut')" in said
    assert "--gat: no such flag; did you mean '--gate'?" in said


def test_an_option_is_read_as_its_own_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = options("gate: str = 'shut'\n    three: float = 1")
    words = ["--gate", "ajar", "--three", ".5", "--profile", "cpu", "--dry_run"]
    assert main(["--algo", written(tmp_path, text), *words]) == 0
    assert "--gate ajar, --three 0.5" in capsys.readouterr().out


@pytest.mark.parametrize("name", algorithms())
def test_a_built_in_algorithm_would_be_taken_as_a_users_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.checks.algorithm_check.algorithms", dict)
    refuse_unworkable(algorithms()[name], name)


def test_an_error_of_a_hook_names_the_hook_and_the_line(tmp_path: Path) -> None:
    text = "def inner(group):\n    return group['x']\ndef weigh(group, s):\n    return inner(group)\n"
    algorithm = get_algorithm(file := written(tmp_path, text + field(weigh="weigh")))
    with pytest.raises(AlgorithmFileError, match=rf"^{file}, line 9: weigh: KeyError: 'x'$"):
        algorithm.weigh({}, settings())  # type: ignore[arg-type]


def test_the_example_is_taken() -> None:
    file = str(ROOT / "examples/own_algorithm.py")
    try:
        refuse_unworkable(get_algorithm(file), file)
    except ExperimentError as error:
        pytest.fail(str(error))


def test_a_field_that_was_mistyped_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, field(weighs="None"))
    assert main(["--algo", file, "--dry_run"]) == 2
    assert "unexpected keyword argument 'weighs'; did you mean 'weigh'?" in capsys.readouterr().err


def test_an_option_that_was_mistyped_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook = "def weigh(group, s):\n    return s.n_rolout\n"
    assert main(["--algo", written(tmp_path, hook + field(weigh="weigh")), "--dry_run"]) == 2
    assert "has no attribute 'n_rolout'; did you mean 'n_rollout'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ALGO = Algorithm(**known)", "defines no ALGORITHM, but the algorithm ALGO; write ALGORITHM = Algorithm(...)"),
        ("ALGORITHM = dict(name='a')", "its ALGORITHM is of type dict; write ALGORITHM = Algorithm(...)"),
    ],
)
def test_what_stands_in_its_place_is_named(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--algo", written(tmp_path, text), "--dry_run"]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_of_that_name_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").mkdir()
    assert main(["--algo", str(tmp_path / "mine.py"), "--dry_run"]) == 2
    assert "mine.py: is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("hook", ["rollout(at, s, rng)", "weigh(group, s)"])
def test_a_hook_that_never_ends_does_not_hold_up_the_start(
    hook: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = hook.partition("(")[0]
    monkeypatch.setattr("recipes.checks.algorithm_check.time_limit", partial(time_limit, 3.0))
    endless = f"def {hook}:\n    while True:\n        pass\n" + field(**{name: name})
    assert main(["--algo", written(tmp_path, endless), "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert f"{name}: OutOfTimeError: did not finish within 3 s" in said
    assert said.count("not finished yet; waiting up to 3 s") == 1


def test_a_file_that_never_ends_does_not_hold_up_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.algorithms.time_limit", partial(time_limit, 0.2))
    with pytest.raises(AlgorithmFileError, match="cannot be loaded: OutOfTimeError"):
        get_algorithm(written(tmp_path, "while True:\n    pass\n"))


def test_a_limit_ends_with_its_block() -> None:
    with time_limit(0.05):
        pass
    time.sleep(0.1)


ODD_CHECKS = {
    "no function": ("check='x'", "check='x': must be a function of the value"),
    "fails": ("check=lambda v: 1 / (v - v)", "the default 0.5: its check fails: ZeroDivisionError"),
    "a truth value": ("check=lambda v: v < 1", "its check returns True: must be a text that says what is wrong"),
    "nothing": ("check=lambda v: None", "its check returns None: must be a text that says what is wrong"),
    "refuses its default": ("check=lambda v: 'must be above 1'", "the default 0.5: must be above 1"),
    "help that is none": ("help=3", "help=3: must be a text"),
}


@pytest.mark.parametrize("odd", ODD_CHECKS)
@pytest.mark.parametrize("mode", ["--dry_run", "--help"])
def test_the_check_of_an_option_is_tried(
    odd: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about, says = ODD_CHECKS[odd]
    name, value = about.split("=", 1)
    file = written(
        tmp_path,
        "import dataclasses\n"
        + options(f"gate: float = dataclasses.field(default=0.5, metadata={{{name!r}: {value}}})"),
    )
    assert main(["--algo", file, mode]) == 2
    said = capsys.readouterr().err
    assert "its option 'gate': " in said
    assert says in said


def test_a_loop_that_catches_exceptions_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.algorithms.time_limit", partial(time_limit, 0.2))
    endless = "while True:\n    try:\n        known['x']\n    except Exception:\n        continue\n"
    with pytest.raises(AlgorithmFileError, match="cannot be loaded: OutOfTimeError"):
        get_algorithm(written(tmp_path, endless))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (field(stages="('sft',)", rollout="lambda at, s, rng: Bare()", needs="frozenset()"), "rollout: has no effect"),
        (field(stages="('alignment',)", method="'dpo'", needs="frozenset({'critic'})"), "needs: has no effect with"),
        (
            field(loss="lambda p, r, s: (p.sum(-1), {})", context="lambda i, g, s: None"),
            "context: has no effect with loss",
        ),
        (field(supervised="abs"), "supervised: has no effect with stages=('rl',); it applies to the stage 'sft'"),
        (
            field(loss="lambda p, rows, s: (p.sum(-1), {})", weigh="lambda g, s: None"),
            "weigh: has no effect with loss",
        ),
    ],
)
def test_a_field_that_no_stage_looks_at_is_refused(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--algo", written(tmp_path, text), "--dry_run"]) == 2
    assert says in capsys.readouterr().err


def test_the_shape_of_a_supervised_stage_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for body, says in (
        ("p.nope", "supervised"),
        ("p.sum()", "supervised is a tensor of shape ()"),
        ("-(1 - p).log()", "supervised has values that are not finite"),
        ("p.mul_(2)", "supervised changes the probabilities it is given"),
        ("p / p.mean()", "elementwise"),
        ("p - p.mean(-1, keepdim=True)", "elementwise"),
        ("p.cumprod(-1)", "elementwise"),
    ):
        text = f"def shape(p):\n    return {body}\n" + field(stages="('sft',)", needs="frozenset()", supervised="shape")
        folder = tmp_path / str(len(body))
        folder.mkdir()
        assert main(["--algo", written(folder, text), "--dry_run"]) == 2
        assert says in capsys.readouterr().err
