"""Losses and layers over several processes, against the same batch on one process."""

import itertools

import pytest
import torch
from distributed.runs import in_processes
from timm.layers import DropPath
from torch import distributed, nn
from torch.nn import functional as F

from lml_iqa.losses import LocalManifoldLoss
from lml_iqa.models.global_batch import GlobalBatchNorm, GlobalDropPath
from lml_iqa.utils.distributed import gather_rows, row_counts, sum_over_processes

WIDTH = 4
CROPS = 2
CASES = list(itertools.product(("salient", "cluster"), ("none", "mos_gap"), (False, True)))
SHARES = {"even": [3, 3], "uneven": [4, 2]}  # images of each process

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")


def everything():
    """The batch of all processes, with two duplicate images."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(6, CROPS, WIDTH, generator=generator)
    saliency = torch.rand(6, CROPS, generator=generator).softmax(dim=1)
    mos = torch.rand(6, generator=generator)
    return pixels, saliency, mos, torch.tensor([0, 1, 2, 1, 3, 0])


def loss_and_gradient(pixels, saliency, mos, image_id, positives, inter_weighting, keys_with_gradient, share=1.0):
    """A share of the loss of a linear network, and its gradient with respect to the weight."""
    weight = torch.arange(1.0, WIDTH * WIDTH + 1).view(WIDTH, WIDTH).sin().requires_grad_()
    embedding = F.normalize(pixels @ weight, dim=-1)
    keys = F.normalize(pixels.roll(1, dims=-1) @ (weight if keys_with_gradient else weight.detach()), dim=-1)
    loss = LocalManifoldLoss(positives=positives, inter_weighting=inter_weighting, w_inter=0.7, gather_distributed=True)
    value = loss(embedding, keys, saliency, mos, image_id) * share
    return value.detach(), torch.autograd.grad(value, weight)[0]


def other_crops(rank):
    """Rank 0 has 3 images with 2 crops, rank 1 has 2 images with 4 crops."""
    generator = torch.Generator().manual_seed(2 + rank)
    images, crops = (3, 2) if rank == 0 else (2, 4)
    z = F.normalize(torch.randn(images, crops, WIDTH, generator=generator), dim=-1)
    saliency = torch.rand(images, crops, generator=generator).softmax(dim=1)
    return z, z.roll(1, dims=0), saliency, torch.rand(images, generator=generator), torch.arange(images) + 10 * rank


def maps():
    """(8, 3, 2, 2) feature maps far from zero mean, where an unstable variance loses precision."""
    return torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(4)) * 0.5 + 5.0


def normalized(norm, x):
    """Output and gradients of a batch normalization, for a loss without symmetry."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (y**3).sum().backward()
    return {"y": y.detach(), "x": x.grad}


def process(rank, world):
    results = {}
    for name, shares in SHARES.items():
        mine = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        for case in CASES:
            parts = loss_and_gradient(*[t[mine] for t in everything()], *case, share=shares[rank] / 6)
            results[name, case] = [sum_over_processes(part) for part in parts]
    results["crops"] = LocalManifoldLoss(temperature=0.3, gather_distributed=True)(*other_crops(rank))
    if rank == 0:  # must not wait for the other process, which does not call it
        results["alone"] = LocalManifoldLoss(temperature=0.3)(*other_crops(0))
    rows = torch.full((3, 2 + rank), float(rank)).t().requires_grad_()  # not contiguous, and different on each rank
    gathered = gather_rows(rows, row_counts(rows))
    (gathered * (rank + 1)).sum().backward()
    results["rows"] = (gathered.detach(), rows.grad)
    results["ids"] = gather_rows(torch.tensor([rank, 10 + rank]), [2, 2])

    norm = GlobalBatchNorm(nn.BatchNorm2d(3))
    mine = slice(0, 5) if rank == 0 else slice(5, 8)
    results["norm"] = normalized(norm, maps()[mine])
    for name in ("weight", "bias"):
        results["norm"][name] = sum_over_processes(getattr(norm, name).grad)
    results["norm"].update(norm.named_buffers())
    torch.manual_seed(5)
    results["drop"] = GlobalDropPath(0.5)(torch.ones(16, 2))
    return results


@pytest.fixture(scope="module")
def results():
    return in_processes(2, process)


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_are_one_batch(results, shares, case):
    value, gradient = loss_and_gradient(*everything(), *case)
    assert gradient.abs().max() > 1e-2
    for rank in results:
        torch.testing.assert_close(rank[shares, case][0], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rank[shares, case][1], gradient, rtol=1e-4, atol=1e-6)


def test_other_processes_matter():
    """Guard of the test above: without the rows of the other process, the average differs."""
    case = ("salient", "none", True)
    halves = [loss_and_gradient(*[t[s] for t in everything()], *case) for s in (slice(0, 3), slice(3, 6))]
    value, gradient = loss_and_gradient(*everything(), *case)
    assert not torch.allclose((halves[0][0] + halves[1][0]) / 2, value, rtol=1e-2)
    assert not torch.allclose((halves[0][1] + halves[1][1]) / 2, gradient, rtol=1e-2)


def test_processes_may_hold_different_numbers_of_crops(results):
    """Compare with the formula, crop by crop."""
    held = [other_crops(rank) for rank in range(2)]
    everyone = [(int(i), z) for _, keys, _, _, ids in held for i, crops in zip(ids, keys, strict=True) for z in crops]
    for rank, (anchors, keys, saliency, _, ids) in enumerate(held):
        losses = []
        for i, image in enumerate(ids.tolist()):
            s = saliency[i].argmax()
            positive = torch.exp(anchors[i, s] @ keys[i, s] / 0.3)
            intra = [torch.exp(anchors[i, s] @ z / 0.3) for k, z in enumerate(keys[i]) if k != s]
            inter = [torch.exp(anchors[i, s] @ z / 0.3) for other, z in everyone if other != image]
            losses.append(-torch.log(positive / (positive + sum(intra) + sum(inter))))
        torch.testing.assert_close(results[rank]["crops"], torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)


def test_without_gathering_a_process_does_not_wait_for_others(results):
    assert torch.equal(results[0]["alone"], LocalManifoldLoss(temperature=0.3)(*other_crops(0)))
    assert not torch.allclose(results[0]["alone"], results[0]["crops"])


def test_rows_come_in_rank_order_and_gradients_are_summed(results):
    for rank in results:
        gathered, gradient = rank["rows"]
        assert gathered.shape == (5, 3)
        assert gathered[:, 0].tolist() == [0, 0, 1, 1, 1]
        assert gradient.eq(1 + 2).all()  # process 0 used the rows once, process 1 twice
        assert rank["ids"].tolist() == [0, 10, 1, 11]


def test_one_process_keeps_its_rows():
    rows = torch.randn(2, 3)
    assert row_counts(rows) == [2]
    assert gather_rows(rows, [2]) is rows
    assert torch.equal(sum_over_processes(rows), rows)


def test_batch_normalization_is_that_of_the_whole_batch(results):
    """Uneven shares of 5 and 3 maps, against torch's batch normalization of the whole batch."""
    norm = nn.BatchNorm2d(3)
    whole = normalized(norm, maps())
    for name in ("y", "x"):
        together = torch.cat([rank["norm"][name] for rank in results])
        torch.testing.assert_close(together, whole[name], rtol=1e-4, atol=1e-3 if name == "x" else 1e-5)
    for rank in results:
        torch.testing.assert_close(rank["norm"]["weight"], norm.weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rank["norm"]["bias"], norm.bias.grad, rtol=1e-4, atol=1e-4)
        for name, buffer in norm.named_buffers():
            torch.testing.assert_close(rank["norm"][name], buffer, rtol=1e-5, atol=1e-6)


def test_stochastic_depth_drops_what_one_process_would(results):
    torch.manual_seed(5)
    whole = DropPath(0.5)(torch.ones(32, 2))
    assert {0.0, 2.0} == set(whole.flatten().tolist())
    assert torch.equal(torch.cat([rank["drop"] for rank in results]), whole)
