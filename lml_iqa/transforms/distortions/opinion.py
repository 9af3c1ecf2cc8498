"""Mean MOS per distortion type and level in TID2013.

The packaged table contains the mean opinion score (MOS) of every type and level in TID2013 over its 24 natural
reference images. Source: N. Ponomarenko et al., "Image database TID2013: Peculiarities, results and perspectives",
Signal Processing: Image Communication, vol. 30, 2015.
"""

from __future__ import annotations

import csv
from importlib import resources


def human_mean_opinion() -> dict[tuple[int, int], float]:
    """Mean MOS on TID2013's scale, 0..9, higher is better.

    Returns:
        MOS of each of the 120 pairs (type 1..24, level 1..5).
    """
    table = resources.files(__package__) / "tid2013_mean_mos.csv"
    with table.open(encoding="utf-8") as lines:
        return {(int(row["type"]), int(row["level"])): float(row["mean"]) for row in csv.DictReader(lines)}
