import numpy as np
import pytest
import torch
from scipy.stats import entropy

from lml_iqa.losses import mutual_loss


def opinions(images=3, crops=4):
    generator = torch.Generator().manual_seed(0)
    quality = [2 * torch.randn(images, crops, generator=generator) for _ in range(2)]
    saliency = [torch.randn(images, crops, generator=generator).softmax(dim=1) for _ in range(2)]
    return [t.requires_grad_() for t in (*quality, *saliency)]


def test_where_is_the_kl_divergence_of_scipy():
    student_quality, teacher_quality, student, teacher = opinions()
    where, _ = mutual_loss(student_quality, teacher_quality, student, teacher)
    expected = np.mean(entropy(teacher.detach().numpy(), student.detach().numpy(), axis=1))
    assert where.item() == pytest.approx(expected, rel=1e-5)
    # Divergence has a direction: the reverse is another number.
    assert where.item() != pytest.approx(
        np.mean(entropy(student.detach().numpy(), teacher.detach().numpy(), axis=1)), rel=1e-3
    )


@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_what_is_smooth_l1(beta):
    student, teacher, *saliency = opinions()
    _, what = mutual_loss(student, teacher, *saliency, beta=beta)
    gap = (student - teacher).detach().double().abs().flatten().tolist()
    assert min(gap) < beta < max(gap)  # both branches are at work
    expected = sum(d * d / (2 * beta) if d < beta else d - beta / 2 for d in gap) / len(gap)
    assert what.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_reaches_the_student_only():
    student_quality, teacher_quality, student_saliency, teacher_saliency = opinions()
    where, what = mutual_loss(student_quality, teacher_quality, student_saliency, teacher_saliency)
    (where + what).backward()
    assert teacher_quality.grad is None
    assert teacher_saliency.grad is None
    # d/dp_f of sum p_g log(p_g / p_f), mean over 3 images
    torch.testing.assert_close(student_saliency.grad, -(teacher_saliency / student_saliency).detach() / 3)
    gap = (student_quality - teacher_quality).detach()
    torch.testing.assert_close(student_quality.grad, gap.clamp(-1, 1) / gap.numel())


def test_each_half_reaches_its_own_outputs():
    student_quality, teacher_quality, student_saliency, teacher_saliency = opinions()
    where, what = mutual_loss(student_quality, teacher_quality, student_saliency, teacher_saliency)
    assert torch.autograd.grad(where, student_quality, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(what, student_saliency, allow_unused=True) == (None,)


def test_agreement_costs_nothing():
    quality, _, saliency, _ = opinions()
    where, what = mutual_loss(quality, quality, saliency, saliency)
    assert where.item() == pytest.approx(0, abs=1e-7)
    assert what.item() == 0


def test_crops_without_saliency():
    quality = torch.zeros(1, 2)
    student = torch.tensor([[0.0, 1.0]], requires_grad=True)
    # The teacher looks nowhere either: 0 log(0 / 0) = 0.
    where, _ = mutual_loss(quality, quality, student, torch.tensor([[0.0, 1.0]]))
    where.backward()
    assert where.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.isfinite().all()
    # The student misses what the teacher looks at: dear, but finite.
    where, _ = mutual_loss(quality, quality, student, torch.tensor([[0.5, 0.5]]))
    assert 10 < where.item() < 100


def test_half_precision_is_computed_in_float32():
    halves = [t.detach().bfloat16() for t in opinions()]
    got = mutual_loss(*halves)
    assert all(loss.dtype == torch.float32 for loss in got)
    torch.testing.assert_close(got, mutual_loss(*[t.float() for t in halves]))
