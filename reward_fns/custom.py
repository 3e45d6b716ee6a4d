"""A user's own reward: one function in one Python file, named on the command line as path/to/file.py:function.
Example: `def reward(response: str, answer: str) -> float: return float(response.rstrip().endswith(answer))`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import Any, cast

from reward_fns.answer_tags import answer_texts
from reward_fns.verdict import Told, shown

UserReward = Callable[..., Any]

VERL_PARAMETERS = ("data_source", "solution_str", "ground_truth", "extra_info")
"""The keyword arguments with which verl calls a custom reward function."""


class CustomRewardError(Told, ValueError):
    """A user's reward that cannot be used; the message names file, function and line, and the fix."""


@dataclass(frozen=True, slots=True)
class CustomVerdict:
    """The verdict of a user's reward on one response, with the attributes of a Verdict.

    score: its value, in [0, 1]. pred: the text in the answer tags, or without tags the end of the response, for logs
    (at most 200 characters, valid UTF-8). metrics: any further numbers the reward returned.
    """

    score: float
    pred: str
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def correct(self) -> bool:
        """Only full marks count as correct."""
        return self.score == 1.0

    @property
    def readable(self) -> bool:
        """Always: only the user's function knows what form an answer needs."""
        return True

    @property
    def partial(self) -> float:
        """The score, which may be between wrong and correct."""
        return self.score


def run(spec: str, response: str, ground_truth: Any, question: str = "", data_source: str = "") -> dict[str, Any]:
    """`score` as plain JSON values, {"score", "pred", "metrics"}, for use across processes."""
    return asdict(score(spec, response, ground_truth, question, data_source))


def is_graded(spec: str) -> bool:
    """Whether the file says GRADED = True: no score of it means "correct", like those of a reward model."""
    return _found(spec)[1]


def score(spec: str, response: str, ground_truth: Any, question: str = "", data_source: str = "") -> CustomVerdict:
    """Judges one response (generation only, no prompt) with the user's function.

    The function gets the response and the answer as text: the `target` of a ground truth with nothing else in it, text
    as it is, anything else as JSON; if it needs a third argument or has a parameter `question`, also the question. A
    function written for verl, with parameters `solution_str` and `ground_truth`, is called as verl calls it:
    data_source, the ground truth as in the data, extra_info with the question.

    Raises CustomRewardError (a ValueError) if the function raises or returns anything but a number in [0, 1], a truth
    value, or a dict with a "score", whose other finite numbers are kept as metrics.
    """
    call = _call(load(spec), response, _plain(ground_truth), question, data_source)
    assert call is not None  # or it would not have been loaded
    try:
        value = call()
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: this process has more answers to judge
        raise CustomRewardError(f"{spec} raised {_told(error, _path_of(spec))}") from None
    metrics: dict[str, float] = {}
    if isinstance(value, Mapping):
        if "score" not in value:
            raise CustomRewardError(f"{spec} returned a dict without 'score': {shown(value)}")
        for name, number in value.items():
            # Other entries, such as the answer as read, need not be numbers.
            with contextlib.suppress(CustomRewardError):
                metrics |= {str(name): _number(number, spec)} if name != "score" else {}
        value = value["score"]
    reward = _number(value, spec)
    if not 0.0 <= reward <= 1.0:
        raise CustomRewardError(f"{spec} returned {shown(value)}; a reward must be from 0 to 1, 1 for a correct answer")
    texts = answer_texts(response)
    pred = (texts[-1] if texts else response[-200:].strip())[:200]
    return CustomVerdict(reward, pred.encode("utf-8", "backslashreplace").decode("utf-8")[:200], metrics)


def answer_text(ground_truth: Any) -> str:
    """The answer as the user's function gets it."""
    plain = _plain(ground_truth)
    if isinstance(plain, str):
        return plain
    return json.dumps(plain, ensure_ascii=False, default=lambda value: value.tolist())


def _plain(ground_truth: Any) -> Any:
    """The ground truth without what our files add to it."""
    if isinstance(ground_truth, Mapping):
        # Parquet fills keys that only other rows have with nulls; `question` is UFT's copy of the question.
        given = {key: value for key, value in ground_truth.items() if value is not None and key != "question"}
        return given["target"] if given.keys() == {"target"} else given
    return ground_truth


def load(spec: str) -> UserReward:
    """The function named by `spec` ("path/to/file.py:function"); reloaded only if the file has changed.

    Raises CustomRewardError for a missing file or function, a function that does not take (response, answer), or a file
    that cannot be imported.
    """
    return _found(spec)[0]


def _found(spec: str) -> tuple[UserReward, bool]:
    """(the function, whether its file says GRADED = True)."""
    path, name = _path_of(spec), spec.rpartition(":")[2]
    if not path.is_file():
        raise CustomRewardError(f"{spec}: there is no file {path}")
    return _load(path.resolve(), path.stat().st_mtime_ns, name, spec)


def _path_of(spec: str) -> Path:
    path, colon, name = spec.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise CustomRewardError(f"{spec!r} does not name a reward function; write path/to/file.py:function")
    return Path(path)


@lru_cache(maxsize=16)
def _load(path: Path, changed_ns: int, name: str, spec: str) -> tuple[UserReward, bool]:
    # A unique name, so that the file neither shadows a module nor clashes with another file of the same name.
    module_name = f"user_reward_{hashlib.sha256(f'{path} {changed_ns}'.encode()).hexdigest()[:16]}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses and pickle look their module up by name
    sys.path.insert(0, str(path.parent))  # the file may import its neighbours
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        raise CustomRewardError(f"{spec}: importing the file raised {_told(error, path)}") from None
    finally:
        sys.path.remove(str(path.parent))
    function = getattr(module, name, None)
    if function is None:
        own = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module_name and not key.startswith("_")
        ]
        raise CustomRewardError(f"{spec}: {path.name} has no function {name!r}; it has {', '.join(own) or 'none'}")
    if not callable(function) or any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        raise CustomRewardError(f"{spec}: {name!r} must be a plain function {name}(response, answer)")
    if _call(function, "", "", "", "") is None:
        raise CustomRewardError(
            f"{spec}: must take two or three texts, {name}(response, answer) or {name}(response, answer, question), "
            f"or what verl gives, ({', '.join(VERL_PARAMETERS)}), but it is {name}{_signature(function) or ''}"
        )
    graded = getattr(module, "GRADED", False)
    if not isinstance(graded, bool):
        raise CustomRewardError(f"{spec}: GRADED = {shown(graded)}; it must be True or False")
    return cast(UserReward, function), graded


def _call(
    function: UserReward, response: str, ground_truth: Any, question: str, data_source: str
) -> Callable[[], Any] | None:
    """The call of a user's function; None if it cannot be called with what there is.

    One with verl's parameters `solution_str` and `ground_truth` gets what verl gives. Any other gets the response and
    the answer as text, and the question if it has a parameter of that name or needs a third text.
    """
    signature = _signature(function)
    if signature is None:
        return None
    parameters = signature.parameters
    ways: list[tuple[tuple[str, ...], dict[str, Any]]]
    if parameters.keys() >= {"solution_str", "ground_truth"}:
        values = (data_source, response, ground_truth, {"question": question})
        every = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        ways = [((), {n: value for n, value in zip(VERL_PARAMETERS, values, strict=True) if every or n in parameters})]
    else:
        texts = (response, answer_text(ground_truth))
        asked = {"question": question} if "question" in parameters else {}
        ways = [(texts, asked), (texts, {}), ((*texts, question), {})]
    for given, named in ways:
        with contextlib.suppress(TypeError):
            signature.bind(*given, **named)
            return partial(function, *given, **named)
    return None


def _signature(function: UserReward) -> inspect.Signature | None:
    with contextlib.suppress(TypeError, ValueError):
        return inspect.signature(function)
    return None


def _told(error: BaseException, path: Path) -> str:
    """The error with the last line of the user's file in its traceback."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return message  # names its own line
    here = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == path.name]
    return f"{message} (line {here[-1].lineno}: {here[-1].line})" if here else message


def _number(value: Any, what: str) -> float:
    if not isinstance(value, Real) and hasattr(value, "item"):
        # numpy booleans and one-element arrays and tensors are meant as numbers; longer ones are rejected below
        with contextlib.suppress(Exception):
            value = value.item()
    if not isinstance(value, Real):
        raise CustomRewardError(f"{what} returned {shown(value)}; return a number from 0 to 1, True or False")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CustomRewardError(f"{what} returned {shown(value)}; return a finite number")
    return number
