import itertools
import os
import warnings

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional as F

from lml_iqa.losses import LocalManifoldLoss
from lml_iqa.losses.gather import gather_rows

WORLD, IMAGES, CROPS, WIDTH = 2, 3, 2, 4
CASES = list(itertools.product(("salient", "cluster"), ("none", "mos_gap"), (False, True)))

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")


def everything():
    """The batch of all processes; two images of rank 0 appear on rank 1 again."""
    generator = torch.Generator().manual_seed(1)
    images = WORLD * IMAGES
    pixels = torch.randn(images, CROPS, WIDTH, generator=generator)
    saliency = torch.rand(images, CROPS, generator=generator).softmax(dim=1)
    mos = torch.rand(images, generator=generator)
    return pixels, saliency, mos, torch.tensor([0, 1, 2, 1, 3, 0])


def network():
    return torch.arange(1.0, WIDTH * WIDTH + 1).view(WIDTH, WIDTH).sin().requires_grad_()


def loss_and_gradient(pixels, saliency, mos, image_id, positives, inter_weighting, keys_with_gradient):
    """The loss of a linear network, and its gradient with respect to the one parameter."""
    weight = network()
    embedding = F.normalize(pixels @ weight, dim=-1)
    keys = F.normalize(pixels.roll(1, dims=-1) @ (weight if keys_with_gradient else weight.detach()), dim=-1)
    loss = LocalManifoldLoss(positives=positives, inter_weighting=inter_weighting, w_inter=0.7)
    value = loss(embedding, keys, saliency, mos, image_id)
    return value.detach(), torch.autograd.grad(value, weight)[0]


def average(value):
    """What DDP does with gradients."""
    distributed.all_reduce(value)
    return value / WORLD


def process(rank, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    mine = slice(rank * IMAGES, (rank + 1) * IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing deprecated on the way
        results = {
            case: [average(t) for t in loss_and_gradient(*[t[mine] for t in everything()], *case)] for case in CASES
        }
        rows = torch.full((2, 3), float(rank), requires_grad=True)
        gathered = gather_rows(rows.t())  # not contiguous
        (gathered * (rank + 1)).sum().backward()
        results["rows"] = (gathered.detach(), rows.grad)
        results["ids"] = gather_rows(torch.tensor([rank, 10 + rank]))
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    multiprocessing.spawn(process, args=(str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_are_one_batch(results, case):
    value, gradient = loss_and_gradient(*everything(), *case)
    assert gradient.abs().max() > 1e-2
    for rank in results:
        torch.testing.assert_close(rank[case][0], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rank[case][1], gradient, rtol=1e-4, atol=1e-6)


def test_other_processes_matter():
    """Guards the test above: without the others' rows the average is another number."""
    case = ("salient", "none", True)
    halves = [loss_and_gradient(*[t[s] for t in everything()], *case) for s in (slice(0, 3), slice(3, 6))]
    value, gradient = loss_and_gradient(*everything(), *case)
    assert not torch.allclose((halves[0][0] + halves[1][0]) / 2, value, rtol=1e-2)
    assert not torch.allclose((halves[0][1] + halves[1][1]) / 2, gradient, rtol=1e-2)


def test_rows_come_in_rank_order_and_gradients_are_summed(results):
    for rank in results:
        gathered, gradient = rank["rows"]
        assert gathered.shape == (6, 2)
        assert gathered[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
        assert gradient.eq(1 + 2).all()  # process 0 used the rows once, process 1 twice
        assert rank["ids"].tolist() == [0, 10, 1, 11]


def test_one_process_keeps_its_rows():
    rows = torch.randn(2, 3)
    assert gather_rows(rows) is rows
