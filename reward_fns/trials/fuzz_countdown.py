"""Random and adversarial countdown responses, with verdicts known from how they were made.
Example: "</think><answer>44 + (19 + 35) = 98</answer>" for numbers [44, 19, 35] and target 98 is correct."""

from __future__ import annotations

import random
from collections.abc import Callable

from reward_fns.trials import Label, Trial
from reward_fns.trials.fuzz_countdown_writing import (
    ASCII,
    Notation,
    Tree,
    decorated,
    draw_notation,
    draw_numbers,
    draw_tree,
    solved,
    value_of,
    written,
)


def sample(draw: random.Random) -> Trial:
    """One trial; the same for the same state of `draw`."""
    kinds = _COMMON if draw.random() < 0.9 else _RARE
    if draw.random() < 0.001:
        return _enormous(draw)
    return kinds[draw.randrange(len(kinds))](draw)


_THOUGHTS = (
    "",
    "Let me try some combinations. 3 + 4 = 7, no. ",
    "First I add the two largest. <answer>1 + 1</answer> is wrong. ",
    "答案是这样的。",
    "So ((( and ]]] and \\frac{ are no good.\n\n",
    "1 + 2 = 3\n4 * 5 = 20\nTherefore, the final equation is not this one. ",
)
_AFTERWARDS = ("", "", "\n", "\nThat is my answer.", "<|im_end|>", "\nUser: thanks", " </think>", "\n<answer>", "\r\n")


def _response(draw: random.Random, *answers: str) -> str:
    """A response with these texts in answer tags after its thought."""
    blocks = draw.choice(("", " ", "\nor\n")).join(f"<answer>{answer}</answer>" for answer in answers)
    opening = draw.choice(("", "", "<answer> ", "</answer>"))
    return draw.choice(_THOUGHTS) + "</think>\n" + opening + blocks + draw.choice(_AFTERWARDS)


def _trial(response: str, numbers: list[int], target: int, label: Label, why: str) -> Trial:
    return Trial(response, {"numbers": numbers, "target": target}, label, why)


def _right(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    text = written(draw, tree, draw_notation(draw))
    return _trial(_response(draw, decorated(draw, text, target)), numbers, target, "correct", "a right expression")


def _right_again(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    texts = [decorated(draw, written(draw, tree, draw_notation(draw)), target) for _ in range(draw.randint(2, 4))]
    return _trial(_response(draw, *texts), numbers, target, "correct", "one right expression in several notations")


def _other_target(draw: random.Random) -> Trial:
    tree, numbers, value = solved(draw)
    target = abs(value) + draw.randint(1, 50) if draw.random() < 0.7 else -value - 1
    text = decorated(draw, written(draw, tree, draw_notation(draw)), draw.choice((value, target)))
    return _trial(_response(draw, text), numbers, target, "wrong", "a right calculation of another value")


def _near_target(draw: random.Random) -> Trial:
    numbers = draw_numbers(draw)
    tree = draw_tree(draw, numbers)
    value = value_of(tree)
    text = _response(draw, written(draw, tree, draw_notation(draw)))
    if value is None:
        return _trial(text, numbers, draw.randint(0, 100), "wrong", "a division by zero")
    if value.denominator == 1:
        return _trial(text, numbers, int(value), "correct", "whatever came out whole")
    nearest = draw.choice((round(value), int(value), value.numerator // value.denominator))
    return _trial(text, numbers, nearest, "wrong", "a fraction beside a whole target")


def _other_numbers(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    asked = list(numbers)
    change = draw.randrange(4)
    if change == 0 and len(asked) > 1:
        asked.pop()
    elif change == 1:
        asked.append(draw.choice(asked))
    elif change == 2:
        asked[0] += draw.choice((1, 10))
    else:
        asked.append(draw.randint(0, 99))
    text = decorated(draw, written(draw, tree, draw_notation(draw)), target)
    return _trial(_response(draw, text), asked, target, "wrong", "a number missing, extra, used twice or changed")


def _digits_joined(draw: random.Random) -> Trial:
    first, second, third = draw.randint(1, 9), draw.randint(0, 9), draw.randint(1, 99)
    joined = 10 * first + second
    response = _response(draw, decorated(draw, f"{joined} + {third}", joined + third))
    if draw.random() < 0.5:
        return _trial(response, [first, second, third], joined + third, "wrong", "two numbers joined to one")
    response = _response(draw, f"{first} + {second} + {third}")
    return _trial(response, [joined, third], first + second + third, "wrong", "a number taken apart")


def _hedged(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    # one number apart from the tree's, so that the two can never read alike
    other = Tree(operation="+", left=tree, right=Tree(number=draw.randint(1, 9)))
    texts = [written(draw, tree, draw_notation(draw)), written(draw, other, draw_notation(draw))]
    draw.shuffle(texts)
    return _trial(_response(draw, *texts), numbers, target, "wrong", "a right and another expression")


def _signed(draw: random.Random) -> Trial:
    first, second = draw.randint(1, 50), draw.randint(51, 99)
    if draw.random() < 0.5:
        text = draw.choice(
            (f"-{first} + {second}", f"(-{first}) + {second}", f"(-{first} + {second})", f"−{first}+{second}")
        )
        return _trial(
            _response(draw, text), [first, second], second - first, "correct", "a sign before the first number"
        )
    text = draw.choice((f"{second} + -{first}", f"{second} + (-{first})", f"-{first} - -{second}"))
    return _trial(_response(draw, text), [first, second], second - first, "wrong", "a sign before a later number")


def _contradicted(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    text = written(draw, tree, draw_notation(draw))
    stated = target + draw.choice((-10, -1, 1, 10, 100))
    text = draw.choice((f"{text} = {stated}", f"{stated} = {text}"))
    return _trial(_response(draw, text), numbers, target, "wrong", "a right expression in a false equality")


def _forbidden(draw: random.Random) -> Trial:
    """Operators and numbers that the task does not allow, with a value that would reach the target."""
    a, b, c = draw.randint(2, 9), draw.randint(1, 4), draw.randint(1, 9)
    text, numbers, target = draw.choice(
        (
            (f"{a}**{b}+{c}", [a, b, c], a**b + c),
            (f"{a}^{b}+{c}", [a, b, c], a**b + c),
            (f"{a}*{a}//{b}+{c}", [a, a, b, c], a * a // b + c),
            (f"{10 * a + c}%{a}", [10 * a + c, a], (10 * a + c) % a),
            (f"{a}.{b}*10+{c}", [a, b, 10, c], 10 * a + b + c),
            (f"({a}-.{b})*10", [a, b, 10], 10 * a - b),
            (f"{a}e{b}", [a, b], a * 10**b),
            (f"{a}{b}**{c}{b}**{a}", [a, b, c, b, a], 24),
            (f"sqrt({a * a})+{c}", [a * a, c], a + c),
            (f"{a}!+{c}", [a, c], draw.randint(1, 100)),
            (f"abs({a}-{a + c})", [a, a + c], c),
            (f"int({a}/{a})+{c}", [a, a, c], 1 + c),
            (f"0{a}+{c}", [a, c], a + c),
            (f"{a}_{b}+{c}", [10 * a + b, c], 10 * a + b + c),
        )
    )
    return _trial(_response(draw, text), numbers, target, "not correct", "a sign or number that is not allowed")


_POISON = ("\0", "\u202e", "\u200b", "\u2066", "\ufeff", "\u0301", "٣", "²", "\ud800", "é", "@", "~", "'", ";", "?")


def _poisoned(draw: random.Random) -> Trial:
    """A correct expression with something inside that cannot be part of it."""
    tree, numbers, target = solved(draw)
    text = written(draw, tree, Notation(ASCII))
    at = text.index(" ") if draw.random() < 0.5 else draw.randrange(1, len(text))
    text = text[:at] + draw.choice(_POISON) + text[at:]
    return _trial(_response(draw, text), numbers, target, "not correct", "a foreign sign inside the expression")


def _unreadable(draw: random.Random) -> Trial:
    tree, numbers, target = solved(draw)
    text = written(draw, tree, Notation(ASCII))
    response = draw.choice(
        (
            text,
            f"<answer>{text}",
            f"{text}</answer>",
            f"<answer>{text}</answer></think> is what I think",
            f"<ANSWER>{text}</ANSWER>",
            "<answer></answer>",
            f"<answer>({text}</answer>",
            f"<answer>{text} +</answer>",
            f"<answer>{text} {numbers[0]}</answer>",
            "<answer>" + " ".join(map(str, numbers)) + "</answer>",
            f"<answer>I think that it is {text}</answer>",
            f"<answer><answer>{text}</think>",
            f"</answer>{text}<answer>",
            f"<answer>{text} = {target} = {target}</answer>",
        )
    )
    return _trial(response, numbers, target, "unreadable", "no readable answer")


def _noise(draw: random.Random) -> Trial:
    """Random pieces; all that is known is that judging must end without raising."""
    pieces = ("<answer>", "</answer>", "</think>", *"(){}", "\\frac", *"$=+-*/ \n")
    text = "".join(
        draw.choice(pieces) if draw.random() < 0.7 else chr(draw.choice((draw.randrange(128), draw.randrange(0x11000))))
        for _ in range(draw.randint(0, 200))
    )
    return _trial(text, draw_numbers(draw), draw.randint(0, 100), "any", "noise")


def _enormous(draw: random.Random) -> Trial:
    """Up to a million characters that must neither be rewarded nor take long."""
    length = 10 ** draw.randint(4, 6)
    unit, close = draw.choice(
        (
            ("<answer>", ""),
            ("</answer>", ""),
            ("<answer>1+1", "</answer>"),
            ("(", "</answer>"),
            ("9", "</answer>"),
            ("1+", "1</answer>"),
            ("\\frac{", "</answer>"),
            ("-", "1</answer>"),
            ("9**", "9</answer>"),
            ("$", "</answer>"),
            ("</think>", ""),
            (" ", "</answer>"),
        )
    )
    text = "<answer>" + unit * (length // len(unit)) + close
    return _trial(text, [2, 3, 4], 24, "not correct", f"{length:,} characters of {unit!r}")


_Kind = Callable[[random.Random], Trial]
_COMMON: tuple[_Kind, ...] = (_right, _right, _right_again, _other_target, _near_target, _other_numbers, _hedged)
_RARE: tuple[_Kind, ...] = (
    _digits_joined,
    _signed,
    _contradicted,
    _forbidden,
    _poisoned,
    _unreadable,
    _unreadable,
    _noise,
)
