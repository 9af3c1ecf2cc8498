"""Networks of every family of timm are trained for a step, or refused in one sentence that says what to do."""

import importlib.util
from pathlib import Path

import pytest
import torch

from lml_iqa import LMLNetwork

_SPEC = importlib.util.spec_from_file_location(
    "timm_families", Path(__file__).parents[2] / "benchmarks" / "timm_families.py"
)
sweep = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sweep)

# One of each kind: no stochastic depth, fixed size, three stages, several outputs, windows, relative positions, ...
SAMPLE = ["byobnet", "coat", "densenet", "efficientvit_msra", "levit", "maxxvit", "resnet", "vision_transformer_relpos"]


@pytest.fixture(autouse=True)
def keep_random_state():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("family", SAMPLE)
def test_sample(family):
    assert sweep.try_network(sweep.FAMILIES[family]).refused == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("family", sorted(sweep.FAMILIES.keys() - set(SAMPLE)))
def test_every_family(family):
    refused = sweep.try_network(sweep.FAMILIES[family]).refused
    assert refused == "" or "model." in refused or "data." in refused


def test_every_family_of_timm_is_named():
    import timm

    families = {timm.models.model_entrypoint(name).__module__.rpartition(".")[2] for name in timm.list_models()}
    assert families <= sweep.FAMILIES.keys() | sweep.NOT_TRIED.keys()


@pytest.mark.parametrize(
    ("name", "options", "size", "message"),
    [
        ("densenet121", {"drop_path": 0.1}, 64, r"densenet121 does not support model\.drop_path; leave it out"),
        ("resnet18", {"img_size": 64}, 64, r"resnet18 does not support model\.img_size; leave it out"),
        ("efficientvit_m0", {"stages": 4}, 64, r"efficientvit_m0 has 3 stages, not 4; set model\.stages"),
        ("swin_tiny_patch4_window7_224", {}, 64, r"does not support crops of 64x64.*set model\.img_size to 64"),
        ("test_vit_relpos", {"img_size": 100}, 100, r"model\.img_size: 100 is not a multiple of the 16-pixel patches"),
        ("test_vit", {}, 65, r"test_vit does not support crops of 65x65 pixels .*16.*data\.crop_size"),
    ],
)
def test_what_is_refused(name, options, size, message):
    def score():
        network = LMLNetwork(name, pretrained=False, saliency="panel_attention", decoder_heads=4, **options)
        return network(torch.zeros(1, 2, 3, size, size, dtype=torch.uint8))

    with pytest.raises(ValueError, match=message) as refused:
        score()
    assert "\n" not in str(refused.value)


def test_errors_of_a_network_at_its_own_size_are_its_own():
    network = LMLNetwork("test_vit", pretrained=False, saliency="panel_attention", decoder_heads=4)
    network.backbone.network.blocks[0] = torch.nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        network(torch.zeros(1, 2, 3, 160, 160, dtype=torch.uint8))
