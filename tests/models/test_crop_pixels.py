"""Crops as uint8 or as floating point in 0..1: the same scores, and nothing else is accepted."""

import pytest
import torch

from lml_iqa.models import LMLNetwork, LMLPair
from lml_iqa.models.pixels import to_pixels


@pytest.fixture
def crops():
    return torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def make_network(saliency, backbone="test_vit"):
    torch.manual_seed(0)
    return LMLNetwork(backbone, pretrained=False, saliency=saliency, decoder_heads=4).eval()


@pytest.mark.parametrize("saliency", ["joint_attention", "panel_attention", "uniform", "random"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uint8_and_unit_floats_score_the_same(crops, saliency, dtype):
    network = make_network(saliency)
    with torch.no_grad():
        expected, found = network(crops), network(crops.to(dtype) / 255)
    for name in ("quality", "embedding", "saliency"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)


def test_unit_floats_through_the_pair_and_a_cnn(crops):
    pair = LMLPair(make_network("panel_attention", "test_efficientnet"))
    for expected, found in zip(pair(crops), pair(crops.float() / 255), strict=True):
        torch.testing.assert_close(found.quality, expected.quality, rtol=1e-4, atol=1e-5)


def test_half_precision_is_as_good_as_it_goes(crops):
    assert (to_pixels((crops.float() / 255).half()) - crops.float()).abs().max() < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.float(), r"must be in 0\.\.1, not 0\.\.255; divide pixels of 0\.\.255 by 255"),
        (lambda x: (x.float() / 255 - 0.45) / 0.22, r"must be in 0\.\.1.*do not normalize"),
        (lambda x: x.float() / 255 * torch.tensor(float("nan")), r"must be in 0\.\.1"),
        (lambda x: x.int(), r"must be uint8 in 0\.\.255 or floating point in 0\.\.1, not torch\.int32"),
        (lambda x: x > 127, r"not torch\.bool"),
        (lambda x: x[0], r"must be \(B, K, 3, S, S\), not \(3, 3, 32, 32\)"),
        (lambda x: x[:, :, :1], r"must be \(B, K, 3, S, S\), not \(2, 3, 1, 32, 32\)"),
        (lambda x: x.permute(0, 1, 3, 4, 2), r"must be \(B, K, 3, S, S\)"),
    ],
)
@pytest.mark.parametrize("saliency", ["joint_attention", "random"])
def test_everything_else_is_refused(crops, change, message, saliency):
    with pytest.raises(ValueError, match=message):
        make_network(saliency)(change(crops))
