"""A user's algorithm whose fields or settings cannot be what they are is refused in one line."""

from pathlib import Path

import pytest

from tests.helpers.own_algorithms import draws, field, options, refused

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
    "a field that is none": (field(stage="1"), "cannot be loaded: TypeError"),
    "a class in its place": ("ALGORITHM = Algorithm\n", "its ALGORITHM is a class"),
    "a field that was mistyped": (
        field(weighs="None"),
        "unexpected keyword argument 'weighs'; did you mean 'weigh'?",
    ),
    "another name": (
        "ALGO = Algorithm(**known)",
        "defines no ALGORITHM, but the algorithm ALGO; write ALGORITHM = Algorithm(...)",
    ),
    "a dict in its place": (
        "ALGORITHM = dict(name='a')",
        "its ALGORITHM is of type dict; write ALGORITHM = Algorithm(...)",
    ),
    # fields that no stage looks at
    "a draw for a supervised stage": (
        field(stages="('sft',)", rollout="lambda at, s, rng: Bare()", needs="frozenset()"),
        "rollout: has no effect",
    ),
    "needs of an alignment": (
        field(stages="('alignment',)", method="'dpo'", needs="frozenset({'critic'})"),
        "needs: has no effect with",
    ),
    "a context beside a loss": (
        field(loss="lambda p, r, s: (p.sum(-1), {})", context="lambda i, g, s: None"),
        "context: has no effect with loss",
    ),
    "weights beside a loss": (
        field(loss="lambda p, rows, s: (p.sum(-1), {})", weigh="lambda g, s: None"),
        "weigh: has no effect with loss",
    ),
    "a supervised shape for reinforcement": (
        field(supervised="abs"),
        "supervised: has no effect with stages=('rl',); it applies to the stage 'sft'",
    ),
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
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_fields_are_refused(odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, capsys, *ODD[odd])
