"""Whatever a start refuses, found before it: machines, model, overrides, data."""

import contextlib
import io
import os

from recipes import ROOT
from recipes.checks.algorithm_check import try_with_torch
from recipes.checks.model_check import refuse_model
from recipes.common.errors import ExperimentError
from recipes.common.machine import gpu_count, installed_vllm
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir
from recipes.data import copies, data_check, datafiles
from recipes.data.demonstrations import demonstrated
from recipes.data.stored_tokenizer import is_here, stored_tokenizer
from recipes.estimate.machine_needs import refuse_too_large
from recipes.run.build_stages import training_plan
from recipes.settings.experiment import Experiment
from recipes.trl_plugin.plan import refuse_long_rows
from recipes.watch.scratch import data_folder


def refuse_absent(model: str) -> None:
    """Raise ExperimentError for a model that is not on this machine and cannot be downloaded from the hub."""
    if not is_here(model, fetch=True):
        raise ExperimentError(
            f"--model {model}: not on this machine (a folder with config.json, or the hub's cache) and not available "
            f"from the hub; check the name, HF_TOKEN and the network"
        )


def refuse_missing_devices(experiment: Experiment) -> None:
    """Raise ExperimentError for more machines or GPUs than exist; a cluster's cannot be seen from here."""
    if lacking := lacking_devices(experiment):
        raise ExperimentError(lacking)


def lacking_devices(experiment: Experiment) -> str:
    """What machines, GPUs or stack are missing for a start, and what to do; empty if nothing is."""
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    if experiment.nnodes > 1 and not cluster:
        return (
            f"--nnodes {experiment.nnodes}: RAY_ADDRESS names no cluster: run `ray start` on all machines, and this "
            f"command with RAY_ADDRESS=<head>:6379"
        )
    # Supervised and alignment stages use the devices of this machine, in a cluster too.
    elsewhere = experiment.device != "cuda" or ("rl" in experiment.stages and cluster)
    there = experiment.n_gpu if elsewhere else gpu_count()
    if there >= experiment.n_gpu:
        wrong = not elsewhere and installed_vllm() == "cpu"
        return "the installed stack is the one for CPUs: ./install.sh --profile cuda, or --profile cpu" if wrong else ""
    visible = f"this machine has {counted(there, 'visible GPU')}; use fewer, or a profile for this machine (--profile)"
    return f"--n_gpu {experiment.n_gpu}: {visible}"


def refuse_as_started(experiment: Experiment, *, keep: bool) -> None:
    """Raise ExperimentError for whatever a start would refuse of model, own algorithm, data and reward; used before
    earlier runs take hours.

    Args:
        keep: leave the prepared user data where the start would put them, however large; else only read and check.
    """
    refuse_settings(experiment)
    with datafiles.made(experiment, ROOT, keep=keep) as files:
        refuse_data(experiment, files)


def refuse_settings(experiment: Experiment) -> None:
    refuse_model(experiment)
    refuse_too_large(experiment)
    try_with_torch(experiment)
    check_overrides(experiment)


def check_overrides(experiment: Experiment) -> None:
    if not experiment.overrides:
        return
    # It imports verl, which is slow.
    from recipes.verl_plugin.tried import try_overrides

    try_overrides(experiment)


def refuse_data(experiment: Experiment, files: datafiles.DataFiles) -> None:
    """Raise ExperimentError for what the start would refuse of existing data, or of a few generated problems."""
    if files.generate is None:
        data_check.check_training(experiment, files)
        refuse_cut_rows(experiment, files)
        with data_folder() as folder:
            styled = copies.styled(experiment, files, folder)
            with contextlib.redirect_stdout(io.StringIO()):  # it prints counts
                demonstrated(experiment, styled, folder)
        return
    with datafiles.sampled(experiment) as few:
        if few is None:
            data_check.check_own_parts(experiment, ROOT)
        else:
            data_check.check_training(experiment, few)
            refuse_cut_rows(experiment, few)


def refuse_cut_rows(experiment: Experiment, files: datafiles.DataFiles, *, fetch: bool = False) -> None:
    tokenizer = stored_tokenizer(experiment.model, fetch=fetch) if experiment.stages == ("alignment",) else None
    if tokenizer is not None:
        refuse_long_rows(training_plan(experiment, RunDir(ROOT), files), experiment, tokenizer)
