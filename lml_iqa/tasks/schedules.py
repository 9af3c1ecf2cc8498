"""Our own schedules, so that no library update changes what a YAML means."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "step", "constant"]


def learning_rate_factor(
    progress: float, *, schedule: Schedule, warmup: float, step: float = 1 / 3, step_factor: float = 0.1
) -> float:
    """Factor on the learning rate.

    Args:
        progress: Share of the run that is done, 0..1.
        schedule: ``cosine``: down to zero along half a cosine; ``step``: times ``step_factor`` after the warm-up and
            each ``step`` (the protocol: a warm-up of 3 of 9 epochs, then x0.1 every 3); ``constant``.
        warmup: Share of the run over which the factor first rises linearly from 0 to 1.
        step: Length of a step as a share of the run.
        step_factor: Factor of each step.

    Returns:
        The factor, 0..1.
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return float(step_factor ** math.floor((progress - warmup) / step + 1e-9))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def teacher_momentum(step: int, horizon: float) -> float:
    """Momentum of an average that looks back over a share of the steps so far, whatever the length of the run.

    A fixed momentum means another thing for each data set: 0.995 looks back over 200 steps, which is nothing in a run
    of 20,000 and half of a run of 400. The average of a profile that grows with time is known from Karras et al.,
    "Analyzing and improving the training dynamics of diffusion models", CVPR 2024.

    Args:
        step: Number of the optimiser step, from 1.
        horizon: Share of the steps so far, above 0.

    Returns:
        The momentum, 0..1: near 0 in the first steps, rising.
    """
    return math.exp(-1 / (horizon * step))
