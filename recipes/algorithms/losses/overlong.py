"""Soft overlong punishment: DAPO, arXiv 2503.14476, equation 13."""


def overlong(generated: int, *, longest: int, buffer: int) -> float:
    """Penalty added to an answer's score: 0 while at least `buffer` tokens are left, falling to -1 when none are.

    Args:
        generated: tokens of the answer.
        longest: maximum tokens of an answer.
    """
    return -min(1.0, max(0.0, (generated - (longest - buffer)) / buffer))
