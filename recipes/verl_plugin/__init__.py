"""All code that imports verl: its hooks, and nothing else. To upgrade verl, read this folder.

file             what it hooks into
main             entry point of an RL run: verl's run_ppo with our task runner
serve            a server for runs on the CPU that share one start; serve_client submits a run to it
served           the system behind it: a trainer on workers and an engine started by an earlier run
renewal          what a start depends on, and how its workers are reset for the next run
sft_main         entry point of an SFT run: verl's SFTTrainer with our dataset and records
verl_config      Experiment -> configuration of either entry point
module_path      makes Ray's workers find our modules
compose          merges those values and the user's overrides into verl's configuration
environment      Experiment -> environment variables of a run
trainer          verl's V1 PPOTrainer, extended by subclassing: loss, records, checkpoints
agent_loop       the manager that draws hints, and the loop that prepends them to the response
rollout_worker   verl's rollout worker and engine client without their per-rollout overhead
shared_puts      batches the rollouts' messages to verl's data plane
actor_loss       verl's ppo_loss plus the hint's log-likelihood (set_loss_fn)
advantage        the "uft" advantage estimator (register_adv_est)
dynamic_sampling replaces prompts without reward variance (trainer.v1.sampler.custom_sampler)
penalty          overlong shaping: advantages from penalised scores, metrics from unpenalised ones
metrics          uft/* and reward/* metrics from the rollout batch
validation       val/* metrics of sampled answers and an additional greedy one
reward_watch     ends a run whose rewards fail too often
rollout_log      the rollouts of a step as JSON lines
sft_dataset      rows of our schema as SFT samples (data.custom_cls)
external         registers in every process what verl looks up by name (VERL_USE_EXTERNAL_MODULES)
passes           additional passes of the trainer: another context, one more supervised update
reliance         uft/hint_reliance, by such a pass
log_probs        log-probabilities from logits without flash-attention
weight_sync      both ends of the weight transfer to vLLM, with a socket per run
platform_cpu     a "cpu" platform for machines without an accelerator (verl's platform registry)
vllm_cpu         vLLM worker extension for the same machines (engine_kwargs): loadable weights, fast sampling
standalone       the training worker without rollouts, for tests and bench/
probe            --auto_batch: one update on sequences of maximal length
stock_main       verl's own trainer, for bench/
loss_cost        measures what the hint loss costs
hook_cost        measures what the CPU hooks save
live_memory      peak bytes of tensors during a call
compat           the supported verl version, checked at start
"""
