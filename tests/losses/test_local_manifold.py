import math

import pytest
import torch
from torch.nn import functional as F

from lml_iqa.losses import LocalManifoldLoss

WEIGHTS = [(1.0, 1.0), (0.1, 2.5), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)]


def batch(images=4, crops=3, width=5, *, seed=0, dtype=torch.float64, keys_require_grad=True):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.randn(images, crops, width, generator=generator, dtype=torch.float64)
    keys = torch.randn(images, crops, width, generator=generator, dtype=torch.float64)
    saliency = torch.rand(images, crops, generator=generator, dtype=torch.float64).softmax(dim=1).to(dtype)
    mos = torch.rand(images, generator=generator, dtype=torch.float64).to(dtype)
    anchors = F.normalize(anchors, dim=-1).to(dtype).requires_grad_()
    keys = F.normalize(keys, dim=-1).to(dtype).requires_grad_(keys_require_grad)
    return anchors, keys, saliency, mos, torch.arange(images)


def oracle(anchors, keys, saliency, mos, image_id, *, temperature, w_intra, w_inter, positives="salient", gap=False):
    """The docstring's formula, term by term, in float64; autograd through plain sums is the gradient's oracle."""
    images, crops = saliency.shape
    losses = []
    for i in range(images):
        row = saliency[i].tolist()
        salient = row.index(max(row))
        average = sum(row) / crops
        chosen = [k for k in range(crops) if k == salient or (positives == "cluster" and row[k] >= average)]
        others = [j for j in range(images) if image_id[j] != image_id[i]]
        weight = dict.fromkeys(others, 1.0)
        if gap:
            gaps = {j: abs(float(mos[i]) - float(mos[j])) for j in others}
            total = sum(gaps.values())
            weight = {j: gaps[j] * len(others) / total if total > 0 else 0.0 for j in others}

        def similarity(j, k, i=i, salient=salient):
            dot = sum(anchors[i, salient, c] * keys[j, k, c] for c in range(keys.shape[-1]))
            return torch.exp(dot / temperature)

        negatives = torch.zeros((), dtype=torch.float64)
        for k in range(crops):
            if k not in chosen:
                negatives = negatives + w_intra * similarity(i, k)
        for j in others:
            for k in range(crops):
                negatives = negatives + w_inter * weight[j] * similarity(j, k)
        terms = [-torch.log(similarity(i, p) / (similarity(i, p) + negatives)) for p in chosen]
        losses.append(sum(terms) / len(terms))
    return sum(losses) / images


def assert_agrees(data, **options):
    """Value and both gradients of the module and of the oracle are the same."""
    anchors, keys, *rest = data
    gap = options.pop("inter_weighting", "none") == "mos_gap"
    loss = LocalManifoldLoss(**options, inter_weighting="mos_gap" if gap else "none")(*data)
    ours = torch.autograd.grad(loss, [t for t in (anchors, keys) if t.requires_grad])

    wide = [t.detach().double().requires_grad_(t.requires_grad) for t in (anchors, keys)]
    expected = oracle(*wide, *rest, **options, gap=gap)
    leaves = [t for t in wide if t.requires_grad]
    # A loss without any negative is constant: zero, as are its gradients.
    theirs = torch.autograd.grad(expected, leaves, allow_unused=True)

    assert loss.dtype == torch.float32
    assert loss.shape == ()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    for got, want, leaf in zip(ours, theirs, leaves, strict=True):
        want = torch.zeros_like(leaf) if want is None else want
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-6)
    return loss


@pytest.mark.parametrize("inter_weighting", ["none", "mos_gap"])
@pytest.mark.parametrize("positives", ["salient", "cluster"])
@pytest.mark.parametrize(("w_intra", "w_inter"), WEIGHTS)
@pytest.mark.parametrize("keys_require_grad", [True, False])
def test_equals_the_formula(positives, inter_weighting, w_intra, w_inter, keys_require_grad):
    data = batch(keys_require_grad=keys_require_grad)
    assert_agrees(
        data,
        temperature=0.3,
        w_intra=w_intra,
        w_inter=w_inter,
        positives=positives,
        inter_weighting=inter_weighting,
    )


def test_cluster_has_several_positives_in_this_file():
    *_, saliency, _, _ = batch()
    assert ((saliency >= saliency.mean(dim=1, keepdim=True)).sum(dim=1) > 1).any()


@pytest.mark.parametrize("inter_weighting", ["none", "mos_gap"])
@pytest.mark.parametrize("positives", ["salient", "cluster"])
@pytest.mark.parametrize(("images", "crops"), [(3, 1), (1, 3), (2, 2)])
def test_small_batches(images, crops, positives, inter_weighting):
    loss = assert_agrees(
        batch(images, crops),
        temperature=0.2,
        w_intra=1.0,
        w_inter=1.0,
        positives=positives,
        inter_weighting=inter_weighting,
    )
    assert loss > 0


@pytest.mark.parametrize("inter_weighting", ["none", "mos_gap"])
@pytest.mark.parametrize("positives", ["salient", "cluster"])
def test_one_crop_of_one_image_has_nothing_to_learn(positives, inter_weighting):
    anchors, keys, *rest = batch(1, 1)
    loss = LocalManifoldLoss(positives=positives, inter_weighting=inter_weighting)(anchors, keys, *rest)
    loss.backward()
    assert loss.item() == 0
    assert anchors.grad.eq(0).all()
    assert keys.grad.eq(0).all()


def test_images_of_equal_quality_do_not_repel_under_mos_gap():
    anchors, keys, saliency, mos, image_id = batch()
    equal = torch.full_like(mos, 0.4)
    data = (anchors, keys, saliency, equal, image_id)
    options = {"temperature": 0.2, "w_intra": 1.0, "w_inter": 1.0}
    gap = assert_agrees(data, **options, inter_weighting="mos_gap")
    without = LocalManifoldLoss(temperature=0.2, w_inter=0.0)(*data)
    torch.testing.assert_close(gap, without)
    assert LocalManifoldLoss(**options)(*data) > gap


def test_mos_gap_is_free_of_the_scale_of_the_scores():
    anchors, keys, saliency, mos, image_id = batch()
    loss = LocalManifoldLoss(inter_weighting="mos_gap")
    torch.testing.assert_close(
        loss(anchors, keys, saliency, mos, image_id), loss(anchors, keys, saliency, mos * 1e-3, image_id)
    )


@pytest.mark.parametrize("inter_weighting", ["none", "mos_gap"])
def test_copies_of_an_image_are_not_negatives(inter_weighting):
    anchors, keys, saliency, mos, _ = batch()
    image_id = torch.tensor([7, 3, 7, 9])
    data = (anchors, keys, saliency, mos, image_id)
    assert_agrees(data, temperature=0.2, w_intra=1.0, w_inter=1.0, inter_weighting=inter_weighting)
    # All copies of one image: as if each were alone.
    same = torch.zeros_like(image_id)
    torch.testing.assert_close(
        LocalManifoldLoss(inter_weighting=inter_weighting)(anchors, keys, saliency, mos, same),
        LocalManifoldLoss(w_inter=0.0)(anchors, keys, saliency, mos, same),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    anchors, keys, saliency, mos, image_id = batch(dtype=dtype)
    loss = LocalManifoldLoss(temperature=0.05)
    half = loss(anchors, keys, saliency, mos, image_id)
    full = loss(anchors.float(), keys.float(), saliency, mos, image_id)
    assert half.dtype == torch.float32
    assert torch.equal(half, full)
    half.backward()
    assert anchors.grad.dtype == dtype
    assert anchors.grad.isfinite().all()
    # Products in half precision would be off by more than this.
    wide = [t.detach().double() for t in (anchors, keys)]
    expected = oracle(*wide, saliency, mos, image_id, temperature=0.05, w_intra=1.0, w_inter=1.0)
    torch.testing.assert_close(half.double(), expected, rtol=1e-5, atol=1e-5)


def test_autocast_does_not_reach_the_similarities():
    data = batch(dtype=torch.float32)
    loss = LocalManifoldLoss(temperature=0.05)
    expected = loss(*data)
    with torch.autocast("cpu", torch.bfloat16):
        under = loss(*data)
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positives", ["salient", "cluster"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_similarities_stay_finite(positives, sign):
    # Positive at cosine 1 and negatives at -1, and the reverse: 200 apart at temperature 0.01; exp(200) is no float32.
    anchors = torch.zeros(2, 2, 4)
    anchors[..., 0] = 1
    keys = -sign * anchors.clone()
    keys[:, 0] *= -1
    saliency = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    anchors.requires_grad_()
    keys.requires_grad_()
    mos, image_id = torch.tensor([0.1, 0.9]), torch.arange(2)
    loss = LocalManifoldLoss(temperature=0.01, positives=positives)(anchors, keys, saliency, mos, image_id)
    loss.backward()
    assert anchors.grad.isfinite().all()
    assert keys.grad.isfinite().all()
    # The other image's salient crop is as near as the positive: log(1 + 1); the far crops vanish, or weigh e^200 each.
    expected = math.log(2) if sign > 0 else 200 + math.log(2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_only_the_salient_anchor_and_no_saliency_get_a_gradient():
    anchors, keys, saliency, mos, image_id = batch(dtype=torch.float32)
    saliency.requires_grad_()
    LocalManifoldLoss()(anchors, keys, saliency, mos, image_id).backward()
    assert saliency.grad is None
    salient = F.one_hot(saliency.argmax(dim=1), 3).bool()
    touched = anchors.grad.abs().sum(dim=-1) > 0
    assert torch.equal(touched, salient)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": -0.1},
        {"w_intra": -1.0},
        {"w_inter": -1e-6},
        {"positives": "all"},
        {"inter_weighting": "mos"},
    ],
    ids=str,
)
def test_bad_options(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        LocalManifoldLoss(**options)
