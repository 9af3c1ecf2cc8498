"""torch.compile as an option: the same training, and checkpoints that do not depend on it."""

import copy
import shutil

import pytest
import timm
import torch
from test_lml_task import make_data, make_task, make_trainer

from lml_iqa.models.backbone import ViTBackbone, create_backbone
from lml_iqa.tasks import LMLTask

QUICK = "eager"  # traced like the others, but runs PyTorch's kernels


@pytest.fixture(autouse=True)
def _reset_compiler():
    """Discard compiled code between tests."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def fit(root, folder, task, **options):
    trainer = make_trainer(folder, max_epochs=2, limit_val_batches=0, **options)
    trainer.fit(task, datamodule=make_data(root))
    return trainer


@pytest.fixture(scope="module")
def runs(biq2021_root, tmp_path_factory):
    """Folder and tasks of the same training with and without compilation."""
    folder = tmp_path_factory.mktemp("runs")
    tasks = {}
    for name, option in {"plain": False, "compiled": QUICK}.items():
        tasks[name] = make_task(compile=option)
        fit(biq2021_root, folder, tasks[name]).save_checkpoint(folder / f"{name}.ckpt")
    return folder, tasks


def compiled(task):
    return [
        module._compiled_call_impl is not None for module in (task.pair.student.backbone, task.pair.teacher.backbone)
    ]


def test_compiled_training_is_the_same(runs):
    _, tasks = runs
    assert compiled(tasks["compiled"]) == [True, True]
    assert compiled(tasks["plain"]) == [False, False]
    for name, value in tasks["plain"].state_dict().items():
        torch.testing.assert_close(tasks["compiled"].state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_checkpoints_do_not_depend_on_it(runs):
    folder, _ = runs
    plain, other = (torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("plain", "compiled"))
    assert list(plain["state_dict"]) == list(other["state_dict"])
    assert not [key for key in other["state_dict"] if "_orig_mod" in key]
    assert plain["hyper_parameters"] == other["hyper_parameters"]
    assert "compile" not in other["hyper_parameters"]


@pytest.mark.parametrize(("saved", "option"), [("compiled", False), ("plain", QUICK)])
def test_checkpoints_load_either_way(runs, saved, option, biq2021_root, tmp_path):
    folder, tasks = runs
    path = folder / f"{saved}.ckpt"
    loaded = LMLTask.load_from_checkpoint(path, weights_only=True, compile=option)
    scores = [
        torch.cat([b["score"] for b in make_trainer(tmp_path).predict(task, datamodule=make_data(biq2021_root))])
        for task in (loaded, tasks["plain"])
    ]
    assert compiled(loaded) == [bool(option)] * 2
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)
    trainer = make_trainer(tmp_path, max_epochs=3, limit_val_batches=0)
    trainer.fit(make_task(compile=option), datamodule=make_data(biq2021_root), ckpt_path=path, weights_only=True)
    assert trainer.current_epoch == 3


def test_unknown_backend_is_refused(biq2021_root, tmp_path):
    with pytest.raises(Exception, match="no_such_backend"):
        fit(biq2021_root, tmp_path, make_task(compile="no_such_backend"))


def crops():
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def transformer(name):
    """Transformer with one block, whose attention is tapped."""
    torch.manual_seed(0)
    return ViTBackbone(timm.create_model(name, depth=1, num_classes=0, dynamic_img_size=True), tap_attention=True)


@pytest.mark.parametrize("name", ["test_vit", "vit_pe_core_tiny_patch16_384", "test_efficientnet"])
def test_encoders_are_one_graph(name):
    """A graph break would split the encoder, and a hook (the second model has three) could be skipped unnoticed."""
    if name == "test_efficientnet":
        backbone = create_backbone(name, pretrained=False, tap_attention=False)
    else:
        backbone = transformer(name)
    plain = backbone(crops())
    whole = torch.compile(copy.deepcopy(backbone), backend=QUICK, fullgraph=True)(crops())
    torch.testing.assert_close(whole.tokens, plain.tokens)
    if plain.attention is not None:
        torch.testing.assert_close(whole.attention, plain.attention)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler")
def test_real_compiler():
    """One transformer block, forward and backward, compiled by inductor."""
    backbone = transformer("test_vit")

    def outputs_and_gradient():
        backbone.zero_grad()
        encoding = backbone(crops())
        query, keys = encoding.attention
        (encoding.tokens.square().sum() + (query.sum() * keys.square().sum())).backward()
        return encoding.summary.detach(), query.detach(), keys.detach(), backbone.network.patch_embed.proj.weight.grad

    plain = outputs_and_gradient()
    backbone.compile()
    for got, expected in zip(outputs_and_gradient(), plain, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
