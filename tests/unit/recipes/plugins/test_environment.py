"""What a run's and an evaluation's process are given: vLLM does not compile FlashInfer's sampler, and CUDA counts as
nvidia-smi, unless told to."""

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from eval.generate import generate
from eval.harness import load_engine
from eval.models import Weights
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import GPU, environment

USUAL = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


class Taken(Exception):
    """Something was imported from a stub; carries the variables as they were then."""


class Stub(types.ModuleType):
    """In the place of a module that would load vLLM."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Taken({each: os.environ.get(each) for each in USUAL})


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that the evaluations import vLLM from, and one that takes seconds."""
    for name in ("vllm", "vllm.lora.request", "lm_eval.models.vllm_causallms"):
        monkeypatch.setitem(sys.modules, name, Stub(name))
    transformers: Any = types.ModuleType("transformers")
    transformers.AutoTokenizer = transformers.AutoConfig = None
    monkeypatch.setitem(sys.modules, "transformers", transformers)


@pytest.fixture(params=[{}, dict.fromkeys(USUAL, "the user's")], ids=["unset", "set by the user"])
def expected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What vLLM is to find, with the variables unset or with a user's own values."""
    for name in USUAL:
        # First set, so that whatever the code puts there is taken back in either case.
        monkeypatch.setenv(name, request.param.get(name, ""))
        if name not in request.param:
            monkeypatch.delenv(name)
    return {**USUAL, **request.param}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_run_samples_without_flashinfer_on_the_cards_as_nvidia_smi_counts(
    expected: dict[str, str], profile: Any, tmp_path: Path
) -> None:
    if profile.device == "cpu":
        del expected["CUDA_DEVICE_ORDER"]
    assert expected.items() <= environment(build_experiment({}, profile), RunDir(tmp_path)).items()


@pytest.mark.parametrize("name", ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "VLLM_DISABLE_COMPILE_CACHE"])
def test_on_gpus_workers_without_one_see_none_and_what_was_compiled_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(profile: str) -> str | None:
        return environment(build_experiment({}, PROFILES[profile]), RunDir(tmp_path)).get(name)

    monkeypatch.delenv(name, raising=False)
    assert given("1x80gb") == GPU[name]
    assert given("cpu") is None
    monkeypatch.setenv(name, "2")
    assert given("1x80gb") == "2"


def test_the_variables_are_rays_and_verls() -> None:
    """By their files: importing either takes seconds."""
    for library, file in (("ray", "_private/accelerators/accelerator.py"), ("verl", "trainer/constants_ppo.py")):
        spec = importlib.util.find_spec(library)
        assert spec is not None
        assert spec.origin is not None
        text = (Path(spec.origin).parent / file).read_text()
        assert any(f'"{name}"' in text for name in GPU)


@pytest.mark.usefixtures("stubs")
def test_an_evaluation_samples_as_a_run(expected: dict[str, str]) -> None:
    settings: Any = None
    with pytest.raises(Taken) as taken:
        next(generate(settings, [], Weights("model"), "cuda"))
    assert taken.value.args == (expected,)


@pytest.mark.usefixtures("stubs")
def test_a_suite_of_the_harness_samples_as_a_run(expected: dict[str, str]) -> None:
    with pytest.raises(Taken) as taken:
        load_engine(Weights("model"), "cuda", seed=0)
    assert taken.value.args == (expected,)
