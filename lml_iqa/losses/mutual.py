"""Mutual learning: agreement of student and teacher on saliency and crop scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lml_iqa.utils.options import check_range


def mutual_loss(
    student_quality: Tensor,
    teacher_quality: Tensor,
    student_saliency: Tensor,
    teacher_saliency: Tensor,
    *,
    beta: float = 1.0,
) -> tuple[Tensor, Tensor]:
    r"""The two terms of mutual learning; the gradient flows to the student only.

    Saliency: :math:`KL(p_g \| p_f) = \sum_k p_g \log(p_g / p_f)`, mean over images. Quality: smooth-L1 between the crop
    scores. The paper describes student and teacher; the two terms are our reading of it.

    Args:
        student_quality: (B, K) crop scores :math:`q_f`.
        teacher_quality: (B, K) crop scores :math:`q_g`.
        student_saliency: (B, K) :math:`p_f`, sums to one over K.
        teacher_saliency: (B, K) :math:`p_g`, sums to one over K.
        beta: Difference at which smooth-L1 changes from quadratic to linear.

    Returns:
        () float32 each: (saliency term, quality term).

    Raises:
        ValueError: The four tensors are not all (B, K), or ``beta`` is not above 0.
    """
    shapes = [tuple(t.shape) for t in (student_quality, teacher_quality, student_saliency, teacher_saliency)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ValueError(f"scores and saliency of student and teacher must all be (B, K), not {shapes}")
    check_range("beta", beta, 0, open_low=True)
    tiny = torch.finfo(torch.float32).tiny
    log_student = student_saliency.float().clamp(min=tiny).log()
    where = F.kl_div(log_student, teacher_saliency.detach().float(), reduction="batchmean")
    what = F.smooth_l1_loss(student_quality.float(), teacher_quality.detach().float(), beta=beta)
    return where, what
