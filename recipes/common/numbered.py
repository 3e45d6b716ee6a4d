"""Counts with a singular or plural noun."""


def counted(number: int, one: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
