"""A reward by a language model: any OpenAI-compatible endpoint says whether an answer is right.

    JUDGE_ENDPOINT=http://HOST/v1 JUDGE_MODEL=NAME REWARD_SECONDS=60 REWARD_WORKERS=16 \\
        python3 run.py --algo una_online --data examples/custom/questions.jsonl \\
        --reward examples/custom/judge_reward.py:reward
The key is OPENAI_API_KEY. An endpoint that fails makes the run stop (--max_reward_error_rate), not the reward 0.
"""

import os
from functools import lru_cache

import openai

from eval.judge import SYSTEM, question, read_verdict


def _setting(name: str, such_as: str) -> str:
    if not os.environ.get(name):
        raise ValueError(f"{name} is not set; give it before the command, such as {name}={such_as}")
    return os.environ[name]


@lru_cache(maxsize=1)
def _client() -> openai.OpenAI:
    key = os.environ.get("OPENAI_API_KEY") or "none"
    return openai.OpenAI(base_url=_setting("JUDGE_ENDPOINT", "http://localhost:8000/v1"), api_key=key, max_retries=5)


def reward(response: str, answer: str, asked: str) -> float:
    item = {"input": asked, "ground_truth": answer, "output": response, "pred": response[-200:]}
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question(item)}]
    model = _setting("JUDGE_MODEL", "Qwen/Qwen2.5-7B-Instruct")
    reply = _client().chat.completions.create(model=model, messages=messages, temperature=0.0)
    verdict = read_verdict(reply.choices[0].message.content)
    if verdict is None:
        raise ValueError(f"not a verdict: {reply.choices[0].message.content!r:.200}")
    return float(verdict)
