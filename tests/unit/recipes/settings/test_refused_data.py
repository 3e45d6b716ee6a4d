"""Data that a run cannot be made with are refused."""

from collections.abc import Callable

import pytest

BAD = {
    "--algo luffy --data chain --max_response_length 4 --max_hint_length 16": "longer than 20 tokens (shortest: 23)",
    "--algo sft --data chain --model models/tiny-countdown": "could not learn from any; increase it",
    "--max_prompt_length 3": "tokens with the tokenizer of models/tiny-countdown, and verl drops longer ones, so none",
    "--data examples/custom/questions.jsonl --max_prompt_length 3": "or give the --model that these texts are for",
    "--data countdown:-1,chain:2": "-1 is not a weight; give a number above 0, such as 0.7",
    "--data countdown:70%,chain:30%": "70% is not a weight; give a number above 0",
    "--data countdown:0,chain:1": "countdown has weight 0; remove it",
    "--data countdown:.7": "weights are for mixtures; for a single data set give --data countdown",
    "--val_data countdown:.5,chain:.5": "validation uses each data set in full; remove the weights: countdown,chain",
    "--val_data countdown": "--val_data countdown: --data trains on the same; omit it",
    "--data examples/custom/questions.jsonl --val_data ./examples/custom/questions.jsonl": "--data trains on the same",
    "--data examples/custom/questions.jsonl --columns question=question,answer=question": "question cannot be both",
    "--eval --data examples/custom/preferences.jsonl": "contains answers; evaluations need problems",
    "--data chain --states 6 --rule parity": "--states 6: must be a power of two for --rule parity",
    "--eval --data countdown_preference": "--data countdown_preference: contains answers; evaluations need "
    "problems; evaluate on the problems of --data countdown",
    "--operators ++": "operators must be some of +-*/, each once, got '++'",
    "--eval --data vnhsge": "--data vnhsge: is on no data hub and has no licence to ship it: git clone https://",
    "--eval --data villm --data_path nowhere": "/nowhere: no such folder",
    "--n_train 8": "--n_train 8: fewer than --batch_size 32, not enough for one step",
    "--data kk_logic --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--sweep --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--pipeline sft,rft --n_train 8": "--n_train 8: fewer than --batch_size 32",
    "--data countdown --sizes 2 --max_number 9": "asked for 4352 countdown problems, but Space(",
    "--data kk_logic --people 2": "asked for 1088 knights-and-knaves puzzles, but with 2 people there are",
    "--data kk_logic --people 2,3 --n_train 16000": "there are fewer than 15100",
    "--data chain --depth 5": "asked for 4352 problems, but of depth 5 with 4 states there are 4096",
    "--data docs": "--data docs: docs/test.parquet does not exist; a data folder contains train.parquet",
    "--data examples/custom/questions.jsonl --val_data docs": "run.py: --data docs: docs/test.parquet does not exist",
    "--data math --data_path missing": "missing: no such file or folder",
    "--data others": "--data others is only for evaluation",
    "--algo sft --demonstrations 0": "--demonstrations 0: no problem would keep its solution, which --algo sft ",
    "--algo uft --demonstrations 0": "more than 0, or train without solutions: --algo rft",
    "--algo sft_rft --demonstrations .001": "--demonstrations 0.001: about 4 of 4096 problems keep a solution",
}


@pytest.mark.parametrize("command", BAD)
def test_unusable_data_are_refused(command: str, refused: Callable[[str], str]) -> None:
    assert BAD[command] in refused(command)
