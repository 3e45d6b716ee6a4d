"""A reward of one's own: full marks for the right number in the answer tags, less if it stands elsewhere."""

import re


def reward(response: str, answer: str) -> dict[str, float]:
    found = re.findall(r"<answer>(.*?)</answer>", response, flags=re.DOTALL)
    right = bool(found) and found[-1].strip() == answer
    near = not right and re.search(rf"(?<![\d.]){re.escape(answer)}(?![\d.])", response) is not None
    return {"score": 1.0 if right else 0.2 if near else 0.0, "answered": float(bool(found))}
