"""The configuration we lay over verl's: valid for every profile, algorithm and task."""

from pathlib import Path
from typing import Any

import pytest

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.estimate import kernels
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.tasks import TASKS
from recipes.verl_plugin.verl_config import rl_config, sft_config
from tests.helpers.verl_configs import EMBEDDED, FILES, RUN, reinforcement

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("verls_files_read_once")]


RL = [name for name, algorithm in algorithms().items() if "rl" in algorithm.stages]


# Each of a kind of its own: estimator, critic, loss, demonstrations, hints in the response or in the question.
EVERYWHERE = ["rft", "uft", "luffy", "ppo", "una_online", "questa"]


SFT = [name for name, algorithm in algorithms().items() if "sft" in algorithm.stages]


PROBLEMS = [name for name, task in TASKS.items() if task.kind == "problems" and not task.only_for_evaluation]


# What each profile, each algorithm and each task is seen with; all with all are extended.
SOME = [
    *(("uft", profile, "countdown") for profile in PROFILES),
    *((algo, profile, "math") for algo in RL for profile in ("cpu", "h100x2")),
    *((algo, "cpu", data) for algo in EVERYWHERE for data in PROBLEMS if data != "math"),
]


ALL = [(algo, profile, data) for algo in RL for profile in PROFILES for data in PROBLEMS]


@pytest.mark.parametrize(
    ("algo", "profile", "data"),
    [each if each in SOME else pytest.param(*each, marks=pytest.mark.extended) for each in ALL],
)
def test_verl_accepts_the_reinforcement_configuration(algo: str, profile: str, data: str) -> None:
    model = EMBEDDED if "critic" in algorithms()[algo].needs else "Qwen/Qwen2.5-0.5B"
    experiment = build_experiment({"algo": algo, "data": data, "model": model}, PROFILES[profile])
    config = reinforcement(experiment)
    assert config.algorithm.adv_estimator == {"ppo": "gae", "una_online": "score"}.get(algo, "uft")
    assert config.critic.enable == (algo == "ppo")
    assert config.actor_rollout_ref.rollout.n == experiment.n_rollout + algorithms()[algo].demonstrations
    assert config.actor_rollout_ref.ref.strategy == "fsdp2"
    assert config.actor_rollout_ref.rollout.response_length == experiment.response_length
    assert config.actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu == kernels.micro_batch_limit(experiment)
    assert config.uft.algorithm == algo


@pytest.mark.parametrize(("samples", "expected"), [(0, (1, False, 0.0)), (4, (5, True, 0.7))])
def test_a_validation_is_one_greedy_answer_or_several_at_the_trainings_temperature_and_a_greedy_one(
    samples: int, expected: tuple[int, bool, float]
) -> None:
    flags = {"algo": "rft", "model": "Qwen/Qwen2.5-0.5B", "val_samples": samples, "temperature": 0.7}
    found = reinforcement(build_experiment(flags, PROFILES["cpu"])).actor_rollout_ref.rollout.val_kwargs
    assert (found.n, found.do_sample, found.temperature) == expected
    assert found.top_p == 1.0


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("algo", SFT)
@pytest.mark.parametrize(
    "data", ["math", *(pytest.param(d, marks=pytest.mark.extended) for d in PROBLEMS if d != "math")]
)
def test_verl_builds_its_dataclasses_from_the_supervised_configuration(algo: str, profile: str, data: str) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.compose import compose_config

    experiment = build_experiment({"algo": algo, "data": data, "model": "Qwen/Qwen2.5-0.5B"}, PROFILES[profile])
    values = sft_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    config = compose_config("sft_trainer_engine", values, [])
    assert omega_conf_to_dataclass(config.engine).strategy == "fsdp2"
    assert omega_conf_to_dataclass(config.optim).lr == experiment.sft_lr
    assert config.model.use_fused_kernels == (experiment.device == "cuda")


def test_rollouts_have_seeds_of_their_own_on_the_cpu_and_where_they_are_asked_for() -> None:
    def seeds(profile: str, resume_from: Path | None = None, **flags: Any) -> tuple[bool, int]:
        e = build_experiment(flags, PROFILES[profile])
        values = rl_config(e, run=RUN, model=e.model, resume_from=resume_from, **FILES)
        return values["uft"]["request_seeds"], values["actor_rollout_ref"]["rollout"]["seed"]

    later = Path("checkpoints/global_step_20")
    assert seeds("cpu", seed=3) == seeds("cpu", later, seed=3) == (True, 3)
    assert seeds("1x80gb", later, seed=3, rollout_seeds="each") == (True, 3)
    assert seeds("1x80gb", seed=3) == seeds("cpu", seed=3, rollout_seeds="engine") == (False, 3)
    # A resumed engine does not draw the numbers of its first steps again.
    resumed = seeds("1x80gb", later, seed=3)
    assert resumed == seeds("1x80gb", later, seed=3) != (False, 3)
    assert 0 <= resumed[1] < 2**31


def test_a_critic_keeps_its_own_head() -> None:
    """verl's fused head would replace the forward pass of the value model."""
    if "ppo" not in algorithms():
        pytest.skip("no algorithm with a critic")
    config = reinforcement(build_experiment({"algo": "ppo", "model": EMBEDDED}, PROFILES["h100x2"]))
    assert config.actor_rollout_ref.model.use_fused_kernels
    assert not config.critic.model.get("use_fused_kernels", False)


def test_overrides_come_last_and_typos_are_refused() -> None:
    from recipes.verl_plugin.compose import compose_config

    values = {"trainer": {"test_freq": 7}}
    assert compose_config("ppo_trainer", values, ["trainer.test_freq=9"]).trainer.test_freq == 9
    assert compose_config("ppo_trainer", values, ["+trainer.extra=[1,2]"]).trainer.extra == [1, 2]
    with pytest.raises(ExperimentError, match=r"did you mean 'trainer.test_freq'"):
        compose_config("ppo_trainer", values, ["trainer.test_frek=9"])
    with pytest.raises(ExperimentError, match="key=value"):
        compose_config("ppo_trainer", values, ["trainer.test_freq"])


@pytest.mark.parametrize(
    ("weigh", "end"),
    [("lambda group, s: group.scores * s.doubt_coef", ExperimentError), ("weigh", InterruptedError)],
    ids=["odd", "usual"],
)
def test_a_users_hooks_are_tried_before_anything_is_loaded(weigh: str, end: type[Exception], tmp_path: Path) -> None:
    from types import SimpleNamespace

    from recipes.verl_plugin.main import train

    def load() -> None:
        raise InterruptedError

    file = tmp_path / "mine.py"
    example = (Path(EMBEDDED).parents[1] / "examples/own_algorithm.py").read_text(encoding="utf-8")
    file.write_text(example.replace("weigh=weigh", f"weigh={weigh}"), encoding="utf-8")
    experiment = build_experiment({"algo": str(file), "model": EMBEDDED}, PROFILES["cpu"])
    with pytest.raises(end, match=None if end is InterruptedError else f"^--algo {file}: weigh returns tensor"):
        train(SimpleNamespace(config=reinforcement(experiment), init=load))
