#!/usr/bin/env python3
"""Front door: `python run.py --algo uft --data countdown`. Parses flags, prints, delegates."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV_PYTHON = ROOT / ".venv/bin/python"


def enter_environment(arguments: list[str]) -> None:
    """Go on inside the .venv that install.sh made, so that nobody has to activate it; an active environment stays."""
    if "VIRTUAL_ENV" in os.environ or not VENV_PYTHON.exists():
        return
    if Path(sys.prefix).resolve() != VENV_PYTHON.parents[1].resolve():
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *arguments])


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, with the flag that was probably meant; argparse prints all flags before it."""

    def error(self, message: str) -> NoReturn:
        from recipes.experiment import nearest

        odd = message.removeprefix("unrecognized arguments: ")
        if odd != message:
            flag = odd.partition(" ")[0].partition("=")[0]
            known = nearest(flag, self._option_string_actions)
            what = f"{flag}: no such flag{known}" if odd.startswith("-") else f"{odd}: belongs to no flag."
            message = f"{what} All of them: run.py --help"
        print(f"run.py: {message}", file=sys.stderr)
        sys.exit(2)


def parser(algo: str | None = None) -> argparse.ArgumentParser:
    """All flags. The first group are those of the UFT repository; a flag not given takes the profile's value.

    Args:
        algo: --algo as given: a file of one's own brings its options along.
    """
    from data_prep.prompt_styles import STYLES
    from recipes.algorithms import algorithms
    from recipes.profiles import PROFILES
    from recipes.reproduce import PRESETS
    from recipes.tasks import TASKS
    from reward_fns import REWARDS

    names = "; ".join(f"{each.name}: {each.title}" for each in algorithms().values())
    root = _Parser(
        prog="run.py",
        allow_abbrev=False,
        description="Unified fine-tuning of language models on verl. Anything after -- is handed to verl (key=value).",
        argument_default=None,
    )
    run = root.add_argument_group("run")
    run.add_argument("--algo", help=f"default uft; {names}")
    run.add_argument(
        "--data",
        help=f"default countdown; task ({', '.join(TASKS)}), file of problems, or folder with train/test.parquet",
    )
    run.add_argument("--model", help="Hugging Face name or folder; default: the profile's")
    run.add_argument("--T", type=int, help="reinforcement steps")
    run.add_argument("--T_hint", type=int, help="step after which no rollout starts from a hint")
    run.add_argument("--n_rollout", "--n_rollouts", type=int, help="rollouts a prompt")
    run.add_argument("--sft_loss_coef", type=float, help="weight of the hint's log-likelihood")
    run.add_argument("--n_gpu", type=int, help="devices a node")
    run.add_argument("--visible-devices", dest="visible_devices", help="as CUDA_VISIBLE_DEVICES, e.g. 0,1")
    run.add_argument("--tp_size", type=int, help="tensor-parallel size of the inference engine")
    run.add_argument("--eval", action="store_true", help="only evaluate --model (also a run, checkpoint or adapter)")
    run.add_argument("--idx", help="a word added to the run's folder name")
    several = root.add_argument_group("several runs (docs/sweeps.md)")
    several.add_argument("--sweep", action="store_true", help="a run for each --algo a,b x --data c,d x --seeds 0,1,2")
    several.add_argument("--reproduce", metavar="TABLE", help=f"the runs of a published table: {', '.join(PRESETS)}")
    several.add_argument("--seeds", help="comma-separated")
    several.add_argument("--parallel", type=int, help="runs at a time; GPUs are shared out")
    run.add_argument("--pipeline", help="stages in one command: sft,dpo,grpo, a file.yaml, or framework")
    more = root.add_argument_group("more")
    more.add_argument("--data_path", help="local copy of what --data math or others would load from the hub")
    more.add_argument("--prompt_style", help="; ".join(f"{s.name}: {s.title}" for s in STYLES.values()))
    more.add_argument("--reward", help=f"{', '.join(REWARDS)} or path/to/file.py:function; default: by the data")
    more.add_argument("--allow_overlap", action="store_true", default=None, help="train although test problems are in")
    more.add_argument("--profile", help=f"hardware: {'; '.join(f'{p.name}: {p.title}' for p in PROFILES.values())}")
    more.add_argument("--seed", type=int)
    more.add_argument("--lr", type=float, help="of reinforcement stages")
    more.add_argument("--sft_lr", type=float, help="of supervised stages")
    more.add_argument("--sft_epochs", type=int)
    more.add_argument("--batch_size", type=int, help="prompts a step")
    more.add_argument("--mini_batch_size", type=int, help="prompts an update")
    more.add_argument("--max_prompt_length", type=int)
    more.add_argument("--max_hint_length", type=int)
    more.add_argument("--max_response_length", type=int, help="generated tokens, hint not counted")
    more.add_argument("--tokens_per_micro_batch", type=int)
    more.add_argument("--rollout_memory", type=float, help="share of a GPU's memory for vLLM's weights and cache")
    more.add_argument("--max_num_seqs", type=int, help="sequences vLLM decodes at once")
    more.add_argument("--dtype", choices=("float32", "bfloat16"), help="of vLLM and of matrix products in training")
    more.add_argument("--hint_nll_agg", choices=("token-mean", "seq-mean-token-sum"))
    more.add_argument("--critic_lr", type=float, help="of ppo's critic")
    more.add_argument("--kl_coef", type=float)
    more.add_argument("--clip_ratio", type=float, help="PPO's clipping of the probability ratio")
    more.add_argument("--entropy_coef", type=float)
    more.add_argument("--temperature", type=float)
    more.add_argument("--test_freq", type=int, help="steps between validations")
    more.add_argument("--save_freq", type=int, help="steps between checkpoints")
    more.add_argument("--val_size", type=int, help="validation problems; -1 is all")
    more.add_argument("--keep_checkpoints", type=int)
    more.add_argument("--log_rollouts", type=int, help="training rollouts of a step to write down; -1 is all")
    more.add_argument("--lora_rank", type=int, help="0 trains all weights")
    align = root.add_argument_group("alignment: dpo, kto, una, una_sft, una_online, and sft on instructions")
    align.add_argument("--feedback", choices=("pairwise", "binary", "score"), help="what una learns from")
    align.add_argument("--una_loss", choices=("mse", "bce"), help="of binary and score feedback")
    align.add_argument("--una_target", choices=("sigmoid", "raw"), help="of una_online: held against the score")
    align.add_argument("--beta", type=float, help="scale of the implicit reward beta log(pi / pi_ref)")
    align.add_argument("--epochs", type=float, help="passes over the rows")
    align.add_argument("--micro_batch_size", type=int, help="rows a device works on at once")
    align.add_argument("--max_length", type=int, help="longest prompt and answer together, in tokens")
    align.add_argument("--sft_ratio", type=float, help="of una_sft: instruction rows for each alignment row")
    align.add_argument("--score_min", "--score-min", type=float, help="worst score there can be in a file of your own")
    align.add_argument("--score_max", "--score-max", type=float, help="best score there can be in it")
    align.add_argument("--lora_alpha", type=int, help="default: twice --lora_rank")
    align.add_argument("--lora_dropout", type=float)
    align.add_argument("--load_in_4bit", action="store_true", default=None, help="frozen weights in 4 bits (CUDA)")
    align.add_argument("--precompute_ref", action="store_true", default=None, help="no reference model in memory")
    _options(root, algo)
    more.add_argument("--nnodes", type=int, help="nodes of the Ray cluster at RAY_ADDRESS")
    more.add_argument("--logger", help="comma-separated: console,file,tensorboard,wandb,...")
    more.add_argument("--out", help="folder of the run; default out/<algo>-<data>-<model>-<hash>")
    more.add_argument("--config", help="flags from a YAML file, or from a run's experiment.yaml; others come on top")
    more.add_argument("--resume", action="store_true", help="continue the run in that folder")
    more.add_argument("--n_samples", type=int, help="of --eval: answers a problem; above 1 they are sampled")
    more.add_argument("--top_p", type=float, help="of --eval")
    more.add_argument("--skip", help="of --eval: benchmarks of lm-evaluation-harness's suites to leave out")
    more.add_argument("--k", help="of --eval: pass@k for these k, comma-separated; default 1, 2, 4 .. n_samples")
    more.add_argument("--max_reward_error_rate", type=float, help="of a step's answers; above it the run stops")
    more.add_argument("--max_timeout_rate", type=float, help="of a step's answers; above it the run stops")
    more.add_argument("--max_parse_fail_rate", type=float, help="of a step's answers, for --parse_fail_steps in a row")
    more.add_argument("--parse_fail_steps", type=int)
    more.add_argument("--auto_batch", action="store_true", help="on a full GPU try again with smaller micro-batches")
    more.add_argument("--stall_minutes", type=float, help="end the run when nothing moves for so long (30)")
    more.add_argument(
        "--dry_run",
        nargs="?",
        const="short",
        choices=("short", "full"),
        help="print what would be done, start nothing; full: with environment, commands and verl's configuration",
    )
    return root


def _options(root: argparse.ArgumentParser, algo: str | None) -> None:
    """The flags of algorithms' own options: of all that are known, and of a file that --algo names."""
    from dataclasses import fields

    from recipes.algorithms import AlgorithmFileError, algorithms, get_algorithm

    chosen = list(algorithms().values())
    if algo and algo.endswith(".py"):
        # A file without an algorithm is refused where --algo is resolved.
        with suppress(AlgorithmFileError):
            chosen.append(get_algorithm(algo))
    for algorithm in chosen:
        if algorithm.options is None:
            continue
        group = root.add_argument_group(f"of --algo {algorithm.name}")
        for option in fields(algorithm.options):
            told = option.metadata.get("help", "")
            group.add_argument(f"--{option.name}", type=type(option.default), help=f"{told} ({option.default})".strip())


def _given(name: str, arguments: list[str]) -> str | None:
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument(f"--{name}")
    found: str | None = getattr(early.parse_known_args(arguments)[0], name)
    return found


def _with_config(own: list[str], overrides: list[str]) -> tuple[list[str], list[str]]:
    """The arguments behind those of the file that --config names, so that the command line has the last word."""
    from recipes.config_file import as_arguments

    file = _given("config", own)
    if file is None:
        return own, overrides
    known = [name.lstrip("-") for name in parser(_algo_of(file, own))._option_string_actions]
    from_file, also = as_arguments(file, known)
    return [*from_file, *own], [*also, *overrides]


def _algo_of(file: str, own: list[str]) -> str | None:
    """--algo as the command line or the file has it; a file that cannot be read is refused where it is read."""
    from recipes.config_file import algo_in

    return _given("algo", own) or algo_in(file)


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit code."""
    from recipes.experiment import ExperimentError
    from recipes.front import evaluate, train
    from recipes.pipeline import pipeline
    from recipes.reproduce import reproduce
    from recipes.sweep import sweep
    from recipes.watch.processes import RunBusyError

    own, overrides = _split(arguments)
    typed = own
    try:
        own, overrides = _with_config(own, overrides)
    except ExperimentError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    flags = vars(parser(_given("algo", own)).parse_args(own))
    on_top = {word.partition("=")[0].lstrip("-") for word in typed}
    of_file = [word.partition("=")[0].lstrip("-") for word in own[: len(own) - len(typed)]]
    flags["config"] = tuple(name for name in of_file if name not in on_top) if flags["config"] else None
    table, line, visible = flags["reproduce"], flags["pipeline"], flags.pop("visible_devices")
    modes = {
        "eval": evaluate,
        "sweep": sweep,
        "reproduce": lambda rest: reproduce(table, rest),
        "pipeline": lambda rest: pipeline(line, rest),
    }
    chosen = [name for name in modes if flags.pop(name)]
    if chosen:
        del flags["config"]
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if flags["logger"] is not None:
        flags["logger"] = tuple(flags["logger"].split(","))
    if overrides:
        flags["overrides"] = tuple(overrides)
    try:
        if len(chosen) > 1:
            raise ExperimentError(f"--{chosen[0]} and --{chosen[1]} cannot be done at once")
        return modes[chosen[0]](flags) if chosen else train(flags)
    except (ExperimentError, RunBusyError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    enter_environment(sys.argv)
    sys.exit(main(sys.argv[1:]))
