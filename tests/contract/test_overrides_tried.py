"""Overrides that only verl or vLLM would refuse, long after the start, are refused before it, in one line."""

import io
from typing import Any

import pytest

from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.tried import try_overrides
from tests.helpers.front_checks import front_door

pytestmark = pytest.mark.contract

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
VLLM = f"+{ROLLOUT}.engine_kwargs.vllm"


def tried(*overrides: str, algo: str = "uft", **flags: Any) -> None:
    data = {"data": "countdown_preference"} if algo == "dpo" else {}
    try_overrides(build_experiment({"algo": algo, "overrides": overrides, **data, **flags}, PROFILES["cpu"]))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"{ROLLOUT}.mode=sync", "vLLM's asynchronous engine"),
        (f"{ROLLOUT}.max_num_batched_tokens=3", "less than --max_num_seqs 128"),
        (f"{ROLLOUT}.max_model_len=30", "30 is less than the 384 tokens"),
        (f"{ROLLOUT}.dtype=int3", "vLLM rejects them: .*'bfloat16'"),
        (f"{ROLLOUT}.load_format=pt", "pt is not one of auto, dummy, safetensors"),
        (f"{ROLLOUT}.max_model_len=5000", "vLLM rejects them: .*greater than the derived max_model_len"),
        (f"{ROLLOUT}.logprobs_mode=foo", "vLLM rejects them: .*'raw_logits'"),
        (f"{ROLLOUT}.engine_kwargs.vllm.distributed_executor_backend=foo", "vLLM rejects them"),
        (f"{VLLM}.block_size=7", "7 is not one of 8, 16"),
        (f"{VLLM}.kv_cache_dtype=foo", "vLLM rejects them: .*'fp8'"),
        (f"{ROLLOUT}.top_p=1.5", "1.5 must be at most 1"),
        (f"{ROLLOUT}.top_p=0", "0 must be above 0"),
        (f"{ROLLOUT}.top_k=-5", "-5 must be at least -1"),
        (f"{ROLLOUT}.data_parallel_size=2", "--tp_size and --n_gpu"),
        (f"{ACTOR}.optim.optimizer=Muon", "Muon only supports 2D parameters"),
        ("actor_rollout_ref.ref.fsdp_config.model_dtype=foo", "bf16, fp16 or fp32"),
        ("actor_rollout_ref.ref.strategy=megatron", "FSDP2"),
        (f"{MODEL}.tokenizer_path=foo", "follows from --model"),
        (f"+{MODEL}.override_config.vocab_size=7", "would change the model itself"),
        ("ray_kwargs.ray_init.object_store_memory=999999999999", "bytes of main memory"),
        ("ray_kwargs.ray_init.num_gpus=0", "--n_gpu and RAY_ADDRESS"),
        ("transfer_queue.backend.storage_backend=foo", "the data plane that the trainer relies on"),
        (f"{ROLLOUT}.agent.num_workers=0", "0 must be at least 1"),
        (f"{ROLLOUT}.agent.agent_loop_config_path=/nope.yaml", "there is no file /nope.yaml"),
        (f"{VLLM}.max_num_seqs=3", f"is set by {ROLLOUT}"),
        (f"{VLLM}.blok_size=16", "no such argument; did you mean 'block_size'"),
        (f"{ACTOR}.optim.optimizer=Adamw", "torch.optim has no optimizer Adamw; did you mean 'AdamW'"),
        (f"{ACTOR}.optim.optimizer_impl=nosuch.mod", "no module nosuch.mod is installed"),
        (f"{ACTOR}.optim.betas=[2,3]", "Invalid beta parameter at index 0: 2"),
        (f"{ACTOR}.optim.weight_decay=-1", "-1 must be at least 0"),
        (f"{ACTOR}.optim.clip_grad=-1", "-1 must be at least 0"),
        (f"{ACTOR}.optim.lr_warmup_steps_ratio=3", "3 must be at least 0 and at most 1"),
        (f"{ACTOR}.optim.lr_scheduler_type=linear", r'lr_scheduler_type in \["constant", "cosine"\]'),
        (f"{ACTOR}.optim.override_optimizer_config={{epss: 1e-6}}", "unexpected keyword argument 'epss'"),
        (f"{ACTOR}.fsdp_config.model_dtype=nonsense", "bf16, fp16 or fp32"),
        (f"{ACTOR}.fsdp_config.fsdp_size=7", r"7 does not divide the 1 device\(s\)"),
        (f"{MODEL}.override_config.attn_implementation=nonsense", "one of eager, sdpa, flash_attention_2"),
        ("ray_kwargs.ray_init.num_cpus=0", "would wait forever: use 7 or more"),
        ("+ray_kwargs.ray_init.foo=3", "ray.init has no such argument"),
        ("reward.num_workers=0", "0 must be at least 1"),
    ],
)
def test_what_verl_or_vllm_would_refuse(override: str, said: str) -> None:
    from vllm.platforms import current_platform

    if said.startswith("vLLM rejects them") and not current_platform.device_type:
        pytest.skip("this vLLM has no device here")
    with pytest.raises(ExperimentError, match=said) as refused:
        tried(override)
    assert "\n" not in str(refused.value)
    assert override.lstrip("+").partition("=")[0] in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        (f"{ACTOR}.optim.optimizer=SGD",),
        (f"{ACTOR}.optim.betas=[.9,.99]", f"{ACTOR}.optim.lr_scheduler_type=cosine"),
        (f"{ACTOR}.optim.override_optimizer_config={{eps: 1e-6}}",),
        (f"{ACTOR}.fsdp_config.param_offload=True", "trainer.balance_batch=False"),
        (f"{VLLM}.block_size=16", f"{ROLLOUT}.enable_chunked_prefill=False"),
        (f"{ROLLOUT}.cudagraph_capture_sizes=[1,2]", f"{ROLLOUT}.max_num_batched_tokens=512"),
    ],
)
def test_what_speed_and_memory_depend_on_may_change(overrides: tuple[str, ...]) -> None:
    tried(*overrides)


def test_a_vllm_without_a_device_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the CUDA stack's on a login node, where --dry_run is to go on."""
    import vllm.platforms
    from vllm.platforms.interface import UnspecifiedPlatform

    from recipes.verl_plugin import ask_vllm

    asked = '{"model": "models/tiny-countdown", "dtype": "int3"}'
    told = []
    for platform in (vllm.platforms.current_platform, UnspecifiedPlatform()):
        monkeypatch.setattr(vllm.platforms, "_current_platform", platform)
        monkeypatch.setattr("sys.stdin", io.StringIO(asked))
        ask_vllm.main()
        told.append(capsys.readouterr().out.strip())
    assert told[1] == ""
    assert "int3" in told[0] or not vllm.platforms.current_platform.device_type


def test_the_other_stages_and_models_are_tried_too() -> None:
    with pytest.raises(ExperimentError, match=r"'optim.optimizer' after --: torch.optim has no optimizer Nonsense"):
        tried("optim.optimizer=Nonsense", algo="sft_rft")
    with pytest.raises(ExperimentError, match=r"'critic.optim.weight_decay' after --"):
        tried("critic.optim.weight_decay=-1", algo="ppo")
    tried(f"{MODEL}.target_modules=[q_proj,v_proj]", lora_rank=4)
    with pytest.raises(ExperimentError, match=r"the model has no module w_proj, only .*q_proj"):
        tried(f"{MODEL}.target_modules=[q_proj,w_proj]", lora_rank=4)


def test_the_dry_run_refuses_in_one_line_and_says_nothing_else_of_verl() -> None:
    done = front_door("--profile", "cpu", "--dry_run", "--", f"{ACTOR}.optim.betas=[2,3]")
    assert (done.returncode, done.stderr.strip().count("\n")) == (2, 0), done.stderr
    done = front_door("--profile", "cpu", "--dry_run", "--", f"{ACTOR}.optim.betas=[.9,.99]")
    assert (done.returncode, done.stderr) == (0, "")
    assert "validate_config" not in done.stdout
