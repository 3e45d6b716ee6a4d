"""A reward by a reward model: a Hugging Face sequence classifier with one output, whose sigmoid is the reward.

    REWARD_MODEL=Skywork/Skywork-Reward-V2-Qwen3-0.6B REWARD_SECONDS=60 REWARD_MEMORY_MB=16384 \\
        python3 run.py --algo una_online --data examples/custom/questions.jsonl \\
        --reward examples/custom/reward_model.py:reward
Each of the REWARD_WORKERS processes loads the model once, onto the CPU unless REWARD_DEVICE says otherwise.
"""

import os

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# No answer is exactly right for such a model: the data's own solutions need not get 1.
GRADED = True


# Here and not in the function: loading has two minutes, an answer REWARD_SECONDS.
_NAME = os.environ.get("REWARD_MODEL", "")
if not _NAME:
    raise ValueError(
        "REWARD_MODEL is not set; give it before the command, such as REWARD_MODEL=Skywork/Skywork-Reward-V2-Qwen3-0.6B"
    )
_TOKENIZER = AutoTokenizer.from_pretrained(_NAME)
_MODEL = AutoModelForSequenceClassification.from_pretrained(_NAME, num_labels=1)
_MODEL.to(os.environ.get("REWARD_DEVICE", "cpu")).eval()


def reward(response: str, answer: str, question: str) -> dict[str, float]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
    if _TOKENIZER.chat_template:
        ids = _TOKENIZER.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
    else:
        ids = _TOKENIZER(f"{question}\n{response}", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logit = _MODEL(ids.to(_MODEL.device)).logits[0, 0]
    return {"score": float(torch.sigmoid(logit)), "logit": float(logit)}
