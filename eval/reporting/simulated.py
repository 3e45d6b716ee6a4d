"""How good the 95 % intervals of reports are with few seeds, by simulation: `python -m bench.false_positives`.

Each is {seeds: (lowest, highest)}, in % of trials, over the settings of results/false_positives; 5 is nominal.
"""

Rates = dict[int, tuple[float, float]]

OVER_BOTH: Rates = {3: (0.3, 4.3), 5: (0.1, 3.8)}
"""Comparisons of equal algorithms in which the interval over seeds and problems excludes 0."""
OVER_SEEDS: Rates = {3: (3.3, 8.8), 5: (3.5, 13.8)}
"""The same for the interval over seeds alone."""
ACCURACY: Rates = {3: (1.2, 6.5), 5: (2.4, 8.1)}
"""Intervals of one algorithm's accuracy that miss the true one."""


def shown(rates: Rates, seeds: set[int]) -> str:
    """The rates as text: for these numbers of seeds, or for all if none of them was simulated."""
    parts = [
        f"{low:g} to {high:g} % ({n} seeds)" for n, (low, high) in rates.items() if n in seeds or not seeds & {*rates}
    ]
    return ", ".join(parts)
