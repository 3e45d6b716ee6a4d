"""Soft overlong punishment: DAPO, arXiv 2503.14476, equation 13."""


def overlong(generated: int, *, longest: int, buffer: int) -> float:
    """What is added to the score of an answer, from -1 to 0: 0 until `buffer` tokens are left, -1 where none is.

    Args:
        generated: its tokens.
        longest: tokens that an answer may have.
    """
    return -min(1.0, max(0.0, (generated - (longest - buffer)) / buffer))
