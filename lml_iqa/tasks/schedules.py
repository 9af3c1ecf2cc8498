"""Schedules of learning rate and momentum, independent of library versions."""

from __future__ import annotations

import math
from typing import Literal

from lml_iqa.utils.options import check_choice, check_range

Schedule = Literal["cosine", "step", "constant"]


def learning_rate_factor(step: float, total: int, *, schedule: Schedule, warmup: float) -> float:
    """Factor on the learning rate of an optimizer step.

    The warm-up counts a step at its end and the decay at its start, so that no step has a rate of zero.

    Args:
        step: Index of the step, from 0.
        total: Number of steps of the run.
        schedule: ``cosine``: towards zero along half a cosine; ``step``: times 0.1 after the warm-up and each
            third of the run (the protocol: a warm-up of 3 of 9 epochs, then x0.1 every 3); ``constant``.
        warmup: Share of the run over which the factor first rises linearly to 1, 0..1.

    Returns:
        The factor, above 0 and at most 1.

    Raises:
        ValueError: The schedule is unknown.
    """
    check_choice("schedule", schedule, Schedule)
    warmed_up = (step + 1) / total
    if warmed_up < warmup:
        return warmed_up / warmup
    # Schedulers also evaluate the step after the last one.
    done = max(0.0, min(step, total - 1) / total - warmup)
    if schedule == "step":
        return float(0.1 ** math.floor(3 * done + 1e-9))
    if schedule == "cosine" and warmup < 1:
        return 0.5 * (1 + math.cos(math.pi * done / (1 - warmup)))
    return 1.0


def teacher_momentum(step: int, horizon: float) -> float:
    """Momentum of an EMA whose horizon is a share of the steps so far.

    The effect of a fixed momentum depends on the length of the run: 0.995 averages over 200 steps, which is little in a
    run of 20,000 steps and half of a run of 400. EMA profiles that grow with time are described by Karras et al.,
    "Analyzing and improving the training dynamics of diffusion models", CVPR 2024.

    Args:
        step: Number of the optimizer step, from 1.
        horizon: Horizon as a share of the steps so far, above 0 and at most 1.

    Returns:
        The momentum, 0..1: near 0 in the first steps, then rising.

    Raises:
        ValueError: An argument is out of range.
    """
    check_range("step", step, 1)
    check_range("horizon", horizon, 0, 1, open_low=True)
    return math.exp(-1 / (horizon * step))
