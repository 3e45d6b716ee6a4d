"""verl overrides after -- reach every stage that knows them, and are refused by name where none does."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run.stages import stage_overrides
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.compose import compose_config
from recipes.verl_plugin.overrides import OWNED
from recipes.verl_plugin.verl_config import REINFORCEMENT, SUPERVISED
from tests.helpers.front_checks import front_door

pytestmark = pytest.mark.contract

DECAY, CLIP, ORDER = "optim.weight_decay=0.5", "actor_rollout_ref.actor.grad_clip=9", "trainer.balance_batch=False"


def experiment(algo: str, *overrides: str, **flags: Any) -> Experiment:
    return build_experiment({"algo": algo, "overrides": overrides, **flags}, PROFILES["cpu"])


def test_each_stage_gets_what_its_configuration_knows() -> None:
    assert stage_overrides(experiment("uft", CLIP, ORDER)) == {REINFORCEMENT: (CLIP, ORDER)}
    assert stage_overrides(experiment("sft", DECAY)) == {SUPERVISED: (DECAY,)}
    both = stage_overrides(experiment("sft_rft", DECAY, CLIP, ORDER))
    assert both == {SUPERVISED: (DECAY, ORDER), REINFORCEMENT: (CLIP, ORDER)}
    assert stage_overrides(experiment("uft")) == {}


def test_a_setting_that_is_added_goes_where_its_section_is() -> None:
    added = "+optim.extra=1"
    assert stage_overrides(experiment("sft_rft", added)) == {SUPERVISED: (added,), REINFORCEMENT: ()}
    with pytest.raises(ExperimentError, match=r"no such setting in this stage; it has .*trainer"):
        stage_overrides(experiment("uft", "+new.extra=1"))


@pytest.mark.parametrize("algo", ["uft", "sft", "sft_rft"])
@pytest.mark.parametrize("override", ["nonsense.key=1", "trainer.test_frek=9", "trainer.test_freq", "=1"])
def test_nonsense_is_refused_by_name(algo: str, override: str) -> None:
    with pytest.raises(ExperimentError, match="after --") as refused:
        stage_overrides(experiment(algo, ORDER, override))
    assert override.partition("=")[0] in str(refused.value)


@pytest.mark.parametrize("algo", ["dpo", "kto", "una", "una_sft"])
def test_stages_that_train_on_trl_take_none(algo: str) -> None:
    with pytest.raises(ExperimentError, match="is trained with TRL"):
        stage_overrides(experiment(algo, ORDER, data="countdown_preference"))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--algo", "sft", "--", "optim.weight_decay=0.5", "nonsense.key=1"), "nonsense.key"),
        (("--algo", "dpo", "--data", "countdown_preference", "--", "nonsense.key=1"), "nonsense.key"),
        (("--eval", "--", "trainer.test_freq=1"), "which --eval does not use"),
    ],
)
def test_the_front_door_refuses_in_one_line(flags: tuple[str, ...], named: str) -> None:
    done = front_door("--profile", "cpu", "--dry_run", *flags)
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert named in done.stderr


def test_the_command_of_a_supervised_stage_has_its_overrides() -> None:
    done = front_door("--profile", "cpu", "--dry_run", "full", "--algo", "sft_rft", "--", DECAY, CLIP)
    assert done.returncode == 0, done.stderr
    commands = {line.split()[-2].rpartition(".")[2]: line for line in done.stdout.splitlines() if " -m recipes" in line}
    supervised = next(line for line in commands.values() if "sft_main" in line)
    reinforced = next(line for line in commands.values() if "verl_plugin.main" in line)
    assert supervised.endswith(f"/sft {DECAY}")
    assert reinforced.endswith(CLIP)
    assert DECAY not in reinforced


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("actor_rollout_ref.actor.optim.lr=1e-6", 1e-6),
        ("actor_rollout_ref.actor.clip_ratio=0.3", 0.3),
        ("actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum", "seq-mean-token-sum"),
        ("trainer.test_freq=9", 9),
    ],
)
def test_values_are_numbers_where_people_write_numbers(override: str, value: Any) -> None:
    config = compose_config(REINFORCEMENT, {}, [override])
    found = OmegaConf.select(config, override.partition("=")[0])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "override",
    ["[=1", "actor_rollout_ref=3", "trainer.total_training_steps=abc", "data.max_prompt_length=${nope.x}", "a: b=1"],
)
def test_values_that_a_setting_cannot_take_are_refused_in_one_line(override: str) -> None:
    if override.startswith("trainer.total"):  # None in verl's file, a number in ours
        override = "trainer.test_freq=abc"
    with pytest.raises(ExperimentError, match="after --") as refused:
        stage_overrides(experiment("uft", override))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "several",
    [
        ("--pipeline", "sft,grpo", "--data", "countdown"),
        ("--pipeline", "sft,dpo,grpo", "--data", "countdown_preference"),
        ("--sweep", "--algo", "sft,rft", "--data", "countdown"),
        ("--reproduce", "una_table"),
    ],
    ids=lambda flags: flags[1],
)
def test_of_several_runs_those_that_know_an_override_get_it(several: tuple[str, ...], tmp_path: Path) -> None:
    profile = "h100x8" if several[0] == "--reproduce" else "cpu"
    if several[0] == "--reproduce":
        several = ("--reproduce", "uft_table", "--algo", "sft,rft", "--data", "countdown")
    how = "full" if several[0] == "--pipeline" else "short"
    flags = (*several, "--profile", profile, "--out", str(tmp_path / "out"), "--dry_run", how)
    done = front_door(*flags, "--", CLIP)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if "verl_plugin.main" in line or "run.py --" in line]
    given = [line for line in commands if CLIP in line]
    assert given
    assert not [line for line in given if "sft_main" in line or "--algo sft " in line or "--algo dpo" in line]
    refused = front_door(*flags, "--", CLIP, "nonsense.key=1")
    assert refused.returncode == 2
    assert "nonsense.key" in refused.stderr
    assert refused.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("override", [f"{key}=7" for key in OWNED if not key.endswith(("uft", "_kwargs"))])
def test_what_flags_decide_is_no_setting_of_verls(override: str) -> None:
    """Whatever kind of value it takes: no run is called one thing and is another."""
    found = 0
    for algo in ("ppo", "sft"):
        base = {"ppo": REINFORCEMENT, "sft": SUPERVISED}[algo]
        known = compose_config(base, {}, [])
        key = override.partition("=")[0]
        if OmegaConf.select(known, key.rpartition(".")[0] or key) is None:
            continue
        found += 1
        with pytest.raises(ExperimentError, match="after --"):
            stage_overrides(experiment(algo, override))
    assert found


@pytest.mark.parametrize(
    ("algo", "override", "said"),
    [
        ("uft", "actor_rollout_ref.rollout.agent.default_agent_loop=tool_agent", "follows from --algo"),
        ("uft", "actor_rollout_ref.rollout.val_kwargs.do_sample=True", "follows from --val_samples"),
        ("uft", "actor_rollout_ref.actor.checkpoint.save_contents=[model]", "belongs to what --resume"),
        ("uft", "actor_rollout_ref.actor.clip_ratio_c=9", "is set by this run, which relies on it"),
        ("uft", "critic.ppo_epochs=2", "critic has no effect: this algorithm trains no critic"),
        ("uft", "algorithm.gamma=0.9", "has no effect: this algorithm trains no critic"),
        ("uft", "trainer.balance_batch=False trainer.balance_batch=True", "is given twice, as False and True"),
        ("uft", "--T=5", "flags of run.py go before the --"),
        ("uft", "trainer.project_name=${nothere}", "'${nothere}': Interpolation key 'nothere' not found"),
        ("sft", "trainer.total_training_steps=4", "--epochs for supervised stages"),
        ("sft", "actor_rollout_ref.rollout.top_p=0.9", "verl has no such setting in this stage"),
    ],
)
def test_an_override_that_would_make_a_run_another_is_refused_with_why(algo: str, override: str, said: str) -> None:
    with pytest.raises(ExperimentError) as refused:
        stage_overrides(experiment(algo, *override.split()))
    assert said in str(refused.value)


@pytest.mark.parametrize("free", ["algorithm.gamma=0.9", "critic.ppo_epochs=2"])
def test_with_a_critic_its_settings_are_free(free: str) -> None:
    assert stage_overrides(experiment("ppo", free)) == {REINFORCEMENT: (free,)}


@pytest.mark.parametrize(
    "free",
    [
        *("actor_rollout_ref.rollout.enforce_eager=False", "actor_rollout_ref.rollout.max_num_batched_tokens=9000"),
        *("actor_rollout_ref.actor.fsdp_config.param_offload=True", "reward.num_workers=2"),
        *("actor_rollout_ref.actor.optim.weight_decay=0.1", "actor_rollout_ref.model.use_fused_kernels=False"),
    ],
)
def test_what_speed_and_memory_depend_on_is_free(free: str) -> None:
    assert stage_overrides(experiment("uft", free)) == {REINFORCEMENT: (free,)}
