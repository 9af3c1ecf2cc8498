"""Layers that span processes, in one process; what they do in several is told in tests/distributed."""

import copy

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import DropPath
from torch import nn

from lml_iqa.models.global_batch import GlobalBatchNorm, GlobalDropPath, span_processes
from lml_iqa.models.lml import LMLNetwork
from lml_iqa.tasks import LMLTask

NAMES = ["test_resnet", "test_efficientnet"]  # BatchNorm2d with and without the activation inside


def crops():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def pair(name, **options):
    """timm's network, and the same one with our layers."""
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours = copy.deepcopy(theirs)
    span_processes(ours, train_batch_norm=True)
    return theirs, ours


@pytest.mark.parametrize("name", NAMES)
def test_one_process_notices_nothing(name):
    theirs, ours = pair(name, drop_path_rate=0.3)
    assert not [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d) or type(m) is DropPath]
    assert sum(isinstance(m, GlobalBatchNorm) for m in ours.modules()) > 5
    outputs = []
    for network in (theirs, ours):
        torch.manual_seed(1)
        output = network.train()(crops())
        output.square().mean().backward()
        outputs += [output, network.eval()(crops())]
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])
    for (key, value), (same_key, same_value) in zip(
        theirs.state_dict().items(), ours.state_dict().items(), strict=True
    ):
        assert key == same_key
        assert torch.equal(value, same_value)
    for theirs_p, ours_p in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(theirs_p.grad, ours_p.grad)


def test_stochastic_depth_is_replaced():
    _, ours = pair("test_vit", drop_path_rate=0.3)
    rates = [m.drop_prob for m in ours.modules() if isinstance(m, GlobalDropPath)]
    assert rates
    assert max(rates) == pytest.approx(0.3)


def test_only_what_acts_on_the_batch_is_replaced():
    kinds = (GlobalBatchNorm, GlobalDropPath)
    networks = [LMLNetwork(pretrained=False), LMLNetwork("test_efficientnet", pretrained=False, saliency="uniform")]
    assert not [m for network in networks for m in network.modules() if isinstance(m, kinds)]


def test_the_trainers_switch_leaves_the_activations():
    """Lightning's sync_batchnorm takes them out of timm's layers, without a word; ours, and the task, refuse it."""
    theirs, ours = (network.eval() for network in pair("test_efficientnet"))
    expected = ours(crops())
    assert torch.equal(theirs(crops()), expected)
    sync = TorchSyncBatchNorm()
    assert torch.equal(sync.revert(sync.apply(ours)).eval()(crops()), expected)
    assert not torch.allclose(sync.apply(theirs).eval()(crops()), expected)
    trainer = Trainer(accelerator="cpu", strategy="ddp", sync_batchnorm=True, logger=False)
    task = LMLTask(backbone="test_efficientnet", pretrained=False, saliency="uniform")
    task.trainer = trainer
    assert isinstance(trainer.strategy._layer_sync, TorchSyncBatchNorm)
    task.setup("fit")
    assert trainer.strategy._layer_sync is None


def test_batch_normalization_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"BatchNorm2d\(3.*affine=False.*only batch normalization with weights"):
        GlobalBatchNorm(nn.BatchNorm2d(3, affine=False))
