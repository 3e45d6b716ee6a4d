"""A reward of one's own: full marks for the right number in the answer tags, a little for a number that is wrong.

The response begins with the hint, if there was one: only what stands in the tags is the model's own.
"""

import re


def reward(response: str, answer: str) -> dict[str, float]:
    found = re.findall(r"<answer>(.*?)</answer>", response, flags=re.DOTALL)
    given = found[-1].strip() if found else ""
    right = bool(found) and given == answer
    number = re.fullmatch(r"-?\d+(\.\d+)?", given) is not None
    return {"score": 1.0 if right else 0.1 if number else 0.0, "answered": float(bool(found))}
