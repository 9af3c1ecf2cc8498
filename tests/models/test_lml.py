import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch

from lml_iqa.models import CropScores, LMLNetwork, LMLPair, image_score

VIT = {"backbone": "test_vit", "saliency": "joint_attention", "decoder_heads": 2, "embedding_dim": 16}
CNN = {
    "backbone": "test_resnet",
    "saliency": "panel_attention",
    "decoder_width": 24,
    "decoder_heads": 2,
    "embedding_dim": 16,
    "train_batch_norm": True,
}


def network(**options):
    torch.manual_seed(0)
    return LMLNetwork(**{**VIT, **options, "pretrained": False})


def crops(images=2, crops_per_image=3, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, crops_per_image, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def shake(module, seed):
    """A training step's effect on parameters, and on batch statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))


def assert_same(first, second):
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def parameters(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


# --- the network


@pytest.mark.parametrize("options", [VIT, CNN], ids=["vit", "cnn"])
def test_scores(options):
    model = network(**options).eval()
    scores = model(crops())
    assert scores.quality.shape == scores.saliency.shape == (2, 3)
    assert scores.embedding.shape == (2, 3, 16)
    torch.testing.assert_close(scores.embedding.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(scores.saliency.sum(dim=1), torch.ones(2))
    # One shared linear head, mean over the judges; every crop on its own.
    for image in range(2):
        for crop in range(3):
            encoding = model.backbone(crops()[image, crop][None])
            panel = model.decoder(encoding.tokens, encoding.summary).panel[0]
            quality = sum(model.quality_head(query) for query in panel) / len(panel)
            torch.testing.assert_close(scores.quality[image, crop], quality[0], rtol=1e-4, atol=1e-5)
            embedding = model.projector(panel.mean(dim=0))
            torch.testing.assert_close(
                scores.embedding[image, crop], embedding / embedding.norm(), rtol=1e-4, atol=1e-5
            )


def test_starts_in_the_middle_of_the_scale():
    quality = network().eval()(crops()).quality
    assert (quality - 0.5).abs().max() < 0.5


def test_scores_are_float32_under_autocast():
    model = network().eval()
    with torch.no_grad():
        full = model(crops())
        with torch.autocast("cpu", torch.bfloat16):
            encoding = model.encode(crops())
            half = model(crops())
            mean, spread = image_score(half, "saliency")
    assert encoding.attention[0].dtype == torch.bfloat16  # autocast was at work
    assert all(value.dtype == torch.float32 for value in (*half, mean, spread))
    torch.testing.assert_close(half.embedding.norm(dim=-1), torch.ones(2, 3))  # not rounded to half precision
    torch.testing.assert_close(half.saliency.sum(dim=1), torch.ones(2))
    for got, want in zip(half, full, strict=True):
        torch.testing.assert_close(got, want, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("mode", [None, True, False])
def test_frozen_encoder_gets_no_gradient_and_stays_in_eval_mode(mode):
    model = network(**CNN, freeze_backbone=True)
    if mode is not None:
        model.train(mode)
    assert not any(module.training for module in model.backbone.modules())
    assert model.decoder.training is (mode is not False)
    before = copy.deepcopy(model.backbone.state_dict())
    encoding = model.encode(crops())
    assert not encoding.tokens.requires_grad
    scores = model.judge(encoding, crops())
    (scores.quality.sum() + scores.embedding[..., 0].sum()).backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())


@pytest.mark.parametrize("train_batch_norm", [True, False])
def test_batch_statistics(train_batch_norm):
    model = network(**{**CNN, "train_batch_norm": train_batch_norm})
    norm = model.backbone.network.bn1
    for step in range(3):  # as it is born, and again later
        model(crops())
        assert norm.num_batches_tracked == (step + 1 if train_batch_norm else 0)
        assert norm.running_mean.abs().max().gt(0) == train_batch_norm
        assert norm.weight.requires_grad
        model.eval().train()
    assert model.backbone.training  # stochastic depth is another matter


def test_gradient_reaches_every_trained_parameter():
    model = network()
    scores = model(crops())
    (scores.quality.sum() + scores.embedding[..., 0].sum()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_saliency_carries_gradient_to_the_encoder():
    model = network()
    model(crops()).saliency[:, 0].sum().backward()
    assert model.backbone.network.blocks[-1].attn.qkv.weight.grad.abs().max() > 0


# --- the pair


@pytest.mark.parametrize("options", [VIT, CNN], ids=["vit", "cnn"])
def test_teacher_starts_as_an_exact_copy(options):
    pair = LMLPair(network(**options))
    assert_same(pair.student, pair.teacher)
    shared = {id(t) for t in pair.student.parameters()} & {id(t) for t in pair.teacher.parameters()}
    assert not shared
    pair.student.eval()
    with torch.no_grad():
        student, teacher = pair(crops())
    assert all(torch.equal(s, t) for s, t in zip(student, teacher, strict=True))


@pytest.mark.parametrize("options", [VIT, CNN], ids=["vit", "cnn"])
def test_teacher_is_a_moving_average(options):
    pair = LMLPair(network(**options))
    expected = {name: value.double() for name, value in parameters(pair.student).items()}
    for step, momentum in enumerate([0.9, 0.5, 0.996, 0.0, 0.75]):
        shake(pair.student, seed=step)
        pair.update_teacher(momentum)
        for name, value in parameters(pair.student).items():
            expected[name] = momentum * expected[name] + (1 - momentum) * value.double()
        for name, value in parameters(pair.teacher).items():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)
    # It did lag behind.
    assert not torch.allclose(pair.teacher.decoder.panel, pair.student.decoder.panel, atol=0.1)


def test_momentum_one_stands_still():
    pair = LMLPair(network())
    before = parameters(pair.teacher)
    shake(pair.student, seed=0)
    pair.update_teacher(1.0)
    assert all(torch.equal(value, before[name]) for name, value in parameters(pair.teacher).items())


def test_buffers_are_copied():
    pair = LMLPair(network(**CNN))
    pair.train()
    pair(crops())  # moves the student's batch statistics
    pair(crops(seed=1))
    teacher, student = (dict(n.named_buffers()) for n in (pair.teacher, pair.student))
    name = "backbone.network.bn1.running_mean"
    assert not torch.equal(teacher[name], student[name])
    assert teacher["backbone.network.bn1.num_batches_tracked"] == 0  # the teacher evaluates
    pair.update_teacher(0.9)
    assert all(torch.equal(teacher[key], student[key]) for key in teacher)
    assert teacher["backbone.network.bn1.num_batches_tracked"] == 2
    assert teacher[name].data_ptr() != student[name].data_ptr()


@pytest.mark.parametrize("freeze", [False, True])
def test_teacher_is_never_trained(freeze):
    pair = LMLPair(network(**CNN, freeze_backbone=freeze))
    for mode in (True, False, True):
        pair.train(mode)
        assert pair.student.training is mode
        assert pair.student.decoder.training is mode
        assert not any(module.training for module in pair.teacher.modules())
    pair.eval()
    assert not pair.student.training
    pair.train()
    assert not any(parameter.requires_grad for parameter in pair.teacher.parameters())
    student, teacher = pair(crops())
    assert all(not value.requires_grad and value.grad_fn is None for value in teacher)
    assert student.quality.requires_grad
    assert student.embedding.requires_grad
    (student.quality.sum() + student.embedding[..., 0].sum()).backward()
    pair.update_teacher(0.9)
    assert all(p.grad is None and not p.requires_grad for p in pair.teacher.parameters())
    assert all(p.requires_grad for p in pair.student.decoder.parameters())


def test_teacher_sees_no_stochastic_depth():
    pair = LMLPair(network(drop_path=0.8)).train()
    first, second = (pair(crops()) for _ in range(2))
    assert torch.equal(first[1].quality, second[1].quality)
    assert not torch.equal(first[0].quality, second[0].quality)


@pytest.fixture(params=[VIT, CNN], ids=["vit", "cnn"])
def frozen(request):
    return LMLPair(network(**request.param, freeze_backbone=True))


def test_frozen_pair_shares_its_encoder(frozen):
    assert frozen.teacher.backbone is frozen.student.backbone
    assert frozen.teacher.decoder is not frozen.student.decoder
    calls = []
    frozen.student.backbone.register_forward_hook(lambda *args: calls.append(1))
    frozen.train()
    assert not any(module.training for module in frozen.student.backbone.modules())
    frozen(crops())
    assert len(calls) == 1
    before = copy.deepcopy(frozen.student.backbone.state_dict())
    shake(frozen.student, seed=0)
    frozen.update_teacher(0.25)
    assert all(torch.equal(v, before[k]) for k, v in frozen.student.backbone.state_dict().items())


def test_frozen_pair_is_right_about_both(frozen):
    """One encoding serves both: each judges as it would alone."""
    shake(frozen.student, seed=0)
    frozen.eval()
    with torch.no_grad():
        student, teacher = frozen(crops())
        for got, alone in ((student, frozen.student(crops())), (teacher, frozen.teacher(crops()))):
            assert all(torch.equal(g, a) for g, a in zip(got, alone, strict=True))
    assert not torch.allclose(student.quality, teacher.quality)


def test_unfrozen_pair_runs_two_encoders():
    pair = LMLPair(network())
    calls = []
    for name in ("student", "teacher"):
        getattr(pair, name).backbone.register_forward_hook(lambda *args, name=name: calls.append(name))
    pair(crops())
    assert calls == ["student", "teacher"]


@pytest.mark.parametrize("options", [VIT, CNN], ids=["vit", "cnn"])
@pytest.mark.parametrize("freeze", [False, True])
def test_state_dict_round_trips_strictly(options, freeze):
    pair = LMLPair(network(**options, freeze_backbone=freeze))
    shake(pair.student, seed=0)
    pair.update_teacher(0.5)
    file = io.BytesIO()
    torch.save(pair.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    other = LMLPair(LMLNetwork(**options, pretrained=False, freeze_backbone=freeze))
    other.load_state_dict(torch.load(file), strict=True)
    assert_same(other, pair)
    assert (other.teacher.backbone is other.student.backbone) is freeze
    pair.eval(), other.eval()
    for ours, theirs in zip(pair(crops()), other(crops()), strict=True):
        assert torch.equal(ours.quality, theirs.quality)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"])
def test_copies_work_and_keep_to_themselves(how, freeze):
    pair = LMLPair(network(freeze_backbone=freeze))
    pair(crops())  # used before it is copied: what a forward pass leaves behind travels along
    twin = how(pair)
    assert_same(twin, pair)
    assert (twin.teacher.backbone is twin.student.backbone) is freeze
    assert twin.student.backbone is not pair.student.backbone
    assert not {t.data_ptr() for t in twin.parameters()} & {t.data_ptr() for t in pair.parameters()}

    before = copy.deepcopy(pair.state_dict())
    pair.eval()
    expected = pair(crops())
    # A loud change of the twin's last attention is heard in the twin's saliency, not in the original's.
    with torch.no_grad():
        twin.student.backbone.network.blocks[-1].attn.qkv.weight.mul_(20)
    shake(twin.student, seed=0)
    twin.eval()
    changed = twin(crops())
    twin.update_teacher(0.5)
    assert all(torch.equal(value, before[key]) for key, value in pair.state_dict().items())
    for ours, again in zip(expected, pair(crops()), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert not torch.allclose(changed[0].saliency, expected[0].saliency, atol=1e-5)


# --- the image's score


@pytest.fixture
def scores():
    return CropScores(
        quality=torch.tensor([[0.2, 0.4, 0.9], [0.5, 0.5, 0.5]]),
        embedding=torch.zeros(2, 3, 1),
        saliency=torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]),
        patch_saliency=None,
    )


def test_mean_score(scores):
    score, spread = image_score(scores, "mean")
    torch.testing.assert_close(score, torch.tensor([0.5, 0.5]))
    # ((0.3)^2 + (0.1)^2 + (0.4)^2) / 3
    torch.testing.assert_close(spread, torch.tensor([(0.26 / 3) ** 0.5, 0.0]), atol=1e-6, rtol=1e-5)


def test_saliency_weighted_score(scores):
    score, spread = image_score(scores, "saliency")
    # 0.1 + 0.1 + 0.225; 0.5 * 0.225^2 + 0.25 * 0.025^2 + 0.25 * 0.475^2
    torch.testing.assert_close(score, torch.tensor([0.425, 0.5]))
    torch.testing.assert_close(spread, torch.tensor([0.081875**0.5, 0.0]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("aggregate", ["mean", "saliency"])
def test_one_crop_is_the_image(aggregate):
    one = CropScores(torch.tensor([[0.7]]), torch.zeros(1, 1, 1), torch.ones(1, 1), None)
    score, spread = image_score(one, aggregate)
    assert score.item() == pytest.approx(0.7)
    assert spread.item() == 0


def test_models_and_losses_need_no_lightning():
    code = (
        "import sys, lml_iqa.models, lml_iqa.losses\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('lightning', 'pytorch_lightning')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "[]"
