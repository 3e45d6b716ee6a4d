"""A user's rollout that gives no plans is refused in one line."""

from pathlib import Path

import pytest

from tests.helpers.own_algorithms import draws, field, refused

ODD = {
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
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_draws_are_refused(odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, capsys, *ODD[odd])
