"""All code that imports trl: its hooks, and nothing else. To upgrade TRL, read this folder.

file        what it hooks into
main        entry of an offline alignment stage, alone or through torchrun
plan        TrainingPlan: the full configuration of such a stage (trl.yaml); imports no trl, no torch
rows        alignment rows -> token ids, as a rollout would see them; the row order of a run
batches     positions in that order -> TRL's own collators; KTO's mismatched completions
arguments   TrainingPlan -> TRL's configuration, adapter, 4-bit loading, FSDP2
trainers    TRL's SFTTrainer, DPOTrainer and KTOTrainer, extended by subclassing; UNA's loss
reference   log-probabilities of the reference, computed once and kept in the run folder
measure     rewards, calibration and likelihoods of a training step and of the test file
recording   a TrainerCallback: heartbeat, metrics.jsonl, tensorboard, when to validate and save
export      the trained weights, merged
compat      the supported trl version, checked at start
"""
