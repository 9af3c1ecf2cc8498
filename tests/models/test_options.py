"""Options given in Python are checked as those of the command line are."""

import pytest
import torch

from lml_iqa import LMLNetwork, LMLPair, LMLTask, LocalManifoldLoss, image_score, mutual_loss
from lml_iqa.models import CropScores

SCORES = CropScores(torch.rand(2, 3), torch.rand(2, 3, 8), torch.full((2, 3), 1 / 3), None)
VIT = {"backbone": "test_vit", "pretrained": False, "decoder_heads": 4}


@pytest.mark.parametrize(
    "option", ["aggregate", "schedule", "saliency", "predict_with", "positives", "inter_weighting"]
)
def test_unknown_choices_of_the_task_are_refused_with_the_known_ones(option):
    with pytest.raises(ValueError, match=rf"{option} must be one of '\w+', .*, not 'typo'"):
        LMLTask(**VIT, **{option: "typo"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_score(SCORES, "typo"), "aggregate must be one of 'mean', 'saliency', not 'typo'"),
        (
            lambda: LMLNetwork("test_vit", pretrained=False, saliency="typo"),
            "saliency must be one of 'joint_attention'",
        ),
        (lambda: LocalManifoldLoss(positives="typo"), "positives must be one of 'salient', 'cluster'"),
        (lambda: LocalManifoldLoss(inter_weighting=None), "inter_weighting must be one of 'none', 'mos_gap', not None"),
        (lambda: LocalManifoldLoss(temperature=0), "temperature must be above 0, not 0"),
        (lambda: LocalManifoldLoss(temperature=float("nan")), "temperature must be above 0, not nan"),
        (lambda: LocalManifoldLoss(w_intra=-1), "w_intra must be at least 0, not -1"),
        (lambda: LMLPair(LMLNetwork(**VIT)).update_teacher(1.5), "momentum must be at least 0 and at most 1, not 1.5"),
        (lambda: mutual_loss(*torch.rand(4, 2, 3), beta=0.0), "beta must be above 0"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "option",
    [
        {"embedding_dim": 0},
        {"panel_size": 0},
        {"stages": 0},
        {"drop_path": 1.5},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"beta": 0.0},
        {"weight_decay": -1.0},
        {"lambda_image": float("inf")},
    ],
)
def test_numbers_out_of_range_are_refused(option):
    (name,) = option
    with pytest.raises(ValueError, match=rf"{name} must be"):
        LMLTask(**{**VIT, **option})


@pytest.mark.parametrize(
    "shapes",
    [
        {"mos": (2, 1)},  # would broadcast
        {"image_id": (3,)},
        {"saliency": (2, 4)},
        {"anchors": (2, 3, 9)},
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(shapes):
    good = {"anchors": (2, 3, 8), "keys": (2, 3, 8), "saliency": (2, 3), "mos": (2,), "image_id": (2,)}
    with pytest.raises(ValueError, match=r"must be \(B, K, Z\)"):
        LocalManifoldLoss()(**{name: torch.rand(shape) for name, shape in {**good, **shapes}.items()})
    with pytest.raises(ValueError, match=r"must all be \(B, K\)"):
        mutual_loss(torch.rand(2, 3), torch.rand(2, 1), torch.rand(2, 3), torch.rand(2, 3))


@pytest.mark.parametrize("crops", range(2, 65))
def test_crops_of_equal_saliency_are_one_cluster(crops):
    """Then there are no intra-class negatives: the weight of these changes nothing, however the mean is rounded."""
    generator = torch.Generator().manual_seed(crops)
    z = torch.nn.functional.normalize(torch.randn(2, crops, 8, generator=generator), dim=-1)
    saliency = torch.full((2, crops), 1.0 / crops)
    rest = (torch.tensor([0.2, 0.8]), torch.arange(2))
    losses = [LocalManifoldLoss(positives="cluster", w_intra=w)(z, z, saliency, *rest) for w in (0.0, 100.0)]
    assert torch.equal(*losses)
