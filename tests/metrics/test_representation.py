"""Rank and entropy against NumPy, SciPy and cases whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from lml_iqa.metrics import effective_rank, saliency_entropy


def test_effective_rank_against_numpy():
    cloud = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)
    values = np.linalg.svd(cloud - cloud.mean(axis=0), compute_uv=False)
    expected = np.exp(entropy(values / values.sum()))
    assert float(effective_rank(torch.from_numpy(cloud))) == pytest.approx(expected, rel=1e-5)


def test_effective_rank_of_clouds_whose_rank_is_known():
    line = torch.outer(torch.randn(20), torch.randn(16)) + 3.0
    assert float(effective_rank(line)) == pytest.approx(1.0, abs=1e-2)
    corners = torch.cat([torch.eye(5), -torch.eye(5)])
    assert float(effective_rank(corners)) == pytest.approx(5.0, rel=1e-5)


@pytest.mark.parametrize("cloud", [torch.full((12, 4), 0.3), torch.rand(1, 4)])
def test_a_single_point_has_no_rank(cloud):
    assert float(effective_rank(cloud)) == 0.0


def test_saliency_entropy_against_scipy():
    saliency = torch.rand(6, 5).softmax(dim=1)
    expected = entropy(saliency.numpy(), axis=1, base=5).mean()
    assert float(saliency_entropy(saliency)) == pytest.approx(expected, rel=1e-5)


def test_saliency_entropy_at_its_ends():
    assert float(saliency_entropy(torch.full((3, 4), 0.25))) == pytest.approx(1.0)
    assert float(saliency_entropy(torch.eye(4))) == 0.0
    assert float(saliency_entropy(torch.ones(3, 1))) == 1.0
