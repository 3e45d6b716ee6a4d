"""All code that imports verl: its hooks, and nothing else. Upgrading verl means reading this folder.

file             what it hooks into
main             entry of an RL run: verl's run_ppo with our task runner
serve            a server of runs on the CPU that share one start; serve_client hands it one
served           the system behind it: a trainer on workers and engine that another run has started
renewal          what a start depends on, and how its workers are made new for the next run
sft_main         entry of an SFT run: verl's SFTTrainer with our dataset and records
verl_config      Experiment -> configuration of either entry
module_path      Ray's workers find our modules
compose          those values over verl's configuration files, the user's overrides over both
environment      Experiment -> environment variables of a run
trainer          verl's V1 PPOTrainer, extended by subclassing: loss, records, checkpoints
agent_loop       the manager that draws hints, the loop that appends them to the response
rollout_worker   the worker and the engine client of the rollouts, without what verl's repeat for each of them
shared_puts      messages to verl's data plane that rollouts share
actor_loss       verl's ppo_loss plus the hint's log-likelihood (set_loss_fn)
advantage        the "uft" advantage estimator (register_adv_est)
dynamic_sampling prompts without variance are replaced (trainer.v1.sampler.custom_sampler)
penalty          overlong shaping: advantages from penalised scores, metrics from verdicts
metrics          uft/* and reward/* metrics from the rollout batch
validation       val/* metrics: sampled answers, and a greedy one beside them
reward_watch     ends a run whose rewards fail too often
rollout_log      the rollouts of a step as lines of text
sft_dataset      rows of our schema as SFT samples (data.custom_cls)
external         what verl finds by name, registered in every process (VERL_USE_EXTERNAL_MODULES)
passes           further passes of the trainer: another context, one more supervised update
reliance         uft/hint_reliance, by such a pass
log_probs        log-probabilities from logits where flash-attention is not installed
weight_sync      both ends of the socket that carries new weights to vLLM, so that two runs cannot share one
platform_cpu     a "cpu" platform for machines without an accelerator (verl's platform registry)
vllm_cpu         vLLM worker extension for the same machines (engine_kwargs): loadable weights, quick sampling
standalone       the training worker without a rollout, for tests and bench/
probe            --auto_batch: one update on nothing but the longest sequences
stock_main       verl's own trainer, for bench/
loss_cost        what the hint loss costs, measured side by side
hook_cost        what the CPU hooks save, measured side by side
live_memory      the most bytes that tensors hold during a call
compat           the verl version this was written against, checked at start
"""
