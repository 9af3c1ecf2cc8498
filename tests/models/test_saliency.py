import copy
import math

import pytest
import timm
import torch
from timm.models.eva import Eva
from torch.nn import functional as F

from lml_iqa.models import LMLNetwork
from lml_iqa.models.backbone import ViTBackbone
from lml_iqa.models.saliency import control_saliency, joint_saliency

SIZE = 64


def crops(images, crops_per_image, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (images, crops_per_image, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def naive(query, key):
    """Attention of each query over all K x N keys of its image, number by number."""
    images, crops_, queries, heads, width = query.shape
    tokens = key.shape[3]
    mass = torch.zeros(images, crops_, tokens, dtype=torch.float64)
    for b in range(images):
        for h in range(heads):
            for p in range(queries):
                looking = [sum(query[b, k, p, h, c].item() for k in range(crops_)) / crops_ for c in range(width)]
                raised = {}
                for k in range(crops_):
                    for n, row in enumerate(key[b, k, h].tolist()):
                        dot = sum(x * y for x, y in zip(looking, row, strict=True))
                        raised[k, n] = math.exp(dot / math.sqrt(width))
                total = sum(raised.values())
                for (k, n), value in raised.items():
                    mass[b, k, n] += value / total / heads / queries
    return mass


def sharpen(network):
    """Make the attention of a network at its initial weights uneven, so that a wrong one is seen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        attention = network.blocks[-1].attn
        projections = [attention.qkv] if attention.qkv is not None else [attention.q_proj, attention.k_proj]
        for projection in projections:
            projection.weight.mul_(8)
        for name in ("q_norm", "k_norm"):
            for parameter in getattr(attention, name).parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 3)
    return network.eval()


def vit(name, **options):
    torch.manual_seed(0)
    return sharpen(timm.create_model(name, num_classes=0, dynamic_img_size=True, **options))


def grouped_queries():
    """Two key heads for four query heads, as Sapiens2 has them."""
    torch.manual_seed(0)
    network = Eva(
        img_size=SIZE, patch_size=16, num_classes=0, embed_dim=32, depth=2, num_heads=4, num_kv_heads=2,
        qkv_fused=False, attn_type="rope", use_rot_pos_emb=True, dynamic_img_size=True,
    )  # fmt: skip
    network.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "architecture": "grouped"}
    return sharpen(network)


NETWORKS = {
    "vit": lambda: vit("vit_tiny_patch16_224"),
    "qk_norm": lambda: vit("test_vit", qk_norm=True),
    "distillation token": lambda: vit("deit_tiny_distilled_patch16_224"),
    "rope, registers": lambda: vit("vit_tiny_patch16_dinov3_qkvb"),
    "rope a block": lambda: vit("vit_small_patch16_rope_mixed_224", depth=2),
    "rope, half": lambda: vit("vit_tiny_patch16_dinov3_qkvb", depth=2, rope_rotate_half=True),
    "rope, eva02": lambda: vit("eva02_tiny_patch14_224", depth=2, patch_size=16),
    "grouped queries": grouped_queries,
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    return NETWORKS[request.param]()


def test_single_crop_is_the_cls_row_of_the_real_attention_matrix(network):
    images = crops(2, 1)
    backbone = ViTBackbone(network, tap_attention=True)
    with torch.no_grad():
        query, key = backbone(images.flatten(0, 1)).attention
        got = joint_saliency(query[:, None, None], key[:, None])

    # Another path: a copy whose last block writes its attention matrix out, instead of fusing it away.
    plain = copy.deepcopy(network)
    attention = plain.blocks[-1].attn
    attention.fused_attn = False
    seen = []
    attention.attn_drop.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        plain.forward_features(backbone.normalize(images.flatten(0, 1)))
    (matrix,) = seen
    prefix = network.num_prefix_tokens
    assert matrix.shape[-1] == prefix + 16
    row = matrix[:, :, 0, prefix:]
    expected = (row / row.sum(dim=-1, keepdim=True)).mean(dim=1)

    torch.testing.assert_close(got[:, 0], expected, rtol=1e-4, atol=1e-6)
    spread = expected.amax(dim=1) / expected.amin(dim=1)
    assert (spread > 1.2).all(), "attention too even to prove anything"


def test_several_crops_share_one_softmax(network, monkeypatch):
    images = crops(2, 3, seed=1)
    backbone = ViTBackbone(network, tap_attention=True)
    entered = []
    real = F.scaled_dot_product_attention

    def spy(query, key, *args, **kwargs):
        entered.append((query, key))  # what really goes into the last block's kernel, after all norms and rotations
        return real(query, key, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    with torch.no_grad():
        query, key = backbone(images.flatten(0, 1)).attention
    got = joint_saliency(query[:, None].unflatten(0, (2, 3)), key.unflatten(0, (2, 3)))

    query, key = (t.unflatten(0, (2, 3)) for t in entered[-1])
    expected = naive(query[..., :1, :].transpose(2, 3), key[..., network.num_prefix_tokens :, :])
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-7)


def test_tapping_changes_no_output_and_keeps_no_tensor(network):
    images = crops(1, 2).flatten(0, 1)
    tapped, plain = (ViTBackbone(network, tap_attention=tap) for tap in (True, False))
    with torch.no_grad():
        second, first = plain(images), tapped(images)
    assert second.attention is None
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.summary, second.summary)
    assert all(getattr(module, "tapped", None) is None for module in network.modules())


@pytest.fixture
def attention():
    generator = torch.Generator().manual_seed(0)
    query = 2 * torch.randn(2, 3, 2, 2, 4, generator=generator)
    key = 2 * torch.randn(2, 3, 2, 5, 4, generator=generator)
    return query, key


def test_several_queries_equal_loops(attention):
    torch.testing.assert_close(joint_saliency(*attention).double(), naive(*attention), rtol=1e-5, atol=1e-7)


def test_sums_to_one_over_an_image(attention):
    saliency = joint_saliency(*attention)
    assert (saliency >= 0).all()
    torch.testing.assert_close(saliency.sum(dim=(1, 2)), torch.ones(2))
    # And says something about crops, which per-crop attention rows cannot.
    assert saliency.sum(dim=2).std(dim=1).min() > 0.01


def test_permuted_crops_permute_saliency(attention):
    order = torch.tensor([2, 0, 1])
    permuted = joint_saliency(*[t[:, order] for t in attention])
    torch.testing.assert_close(permuted, joint_saliency(*attention)[:, order])


def test_other_images_have_no_influence(attention):
    changed = [t.clone() for t in attention]
    for t in changed:
        t[1] = t[1] * -3 + 1
    torch.testing.assert_close(joint_saliency(*changed)[0], joint_saliency(*attention)[0])
    assert not torch.allclose(joint_saliency(*changed)[1], joint_saliency(*attention)[1], atol=1e-2)


def test_half_precision_is_computed_in_float32(attention):
    halves = [t.bfloat16() for t in attention]
    got = joint_saliency(*halves)
    assert got.dtype == torch.float32
    assert torch.equal(got, joint_saliency(*[t.float() for t in halves]))


def test_large_logits_stay_finite():
    query, key = torch.full((1, 2, 1, 1, 4), 100.0), torch.full((1, 2, 1, 3, 4), 100.0)
    torch.testing.assert_close(joint_saliency(query, key), torch.full((1, 2, 3), 1 / 6))


@pytest.mark.parametrize("saliency", ["joint_attention", "panel_attention"])
def test_whole_network(saliency):
    torch.manual_seed(0)
    network = LMLNetwork("test_vit", pretrained=False, saliency=saliency, decoder_heads=2).eval()
    sharpen(network.backbone.network)
    with torch.no_grad():
        for projection in (network.decoder.cross_attention.query, network.decoder.cross_attention.key):
            projection.weight.mul_(8)
        images = crops(2, 4)
        scores = network(images)
        assert scores.patch_saliency.shape == (2, 4, 16)
        torch.testing.assert_close(scores.patch_saliency.sum(dim=2), scores.saliency)
        torch.testing.assert_close(scores.saliency.sum(dim=1), torch.ones(2))
        assert scores.saliency.std(dim=1).min() > 1e-4
        order = torch.tensor([3, 1, 0, 2])
        torch.testing.assert_close(network(images[:, order]).saliency, scores.saliency[:, order])
        alone = network(images[:1])
        torch.testing.assert_close(alone.patch_saliency, scores.patch_saliency[:1])
        torch.testing.assert_close(alone.quality, scores.quality[:1])


def test_panel_attention_is_the_decoders():
    torch.manual_seed(0)
    network = LMLNetwork("test_vit", pretrained=False, saliency="panel_attention", decoder_heads=2, panel_size=3).eval()
    images = crops(2, 2)
    with torch.no_grad():
        encoding = network.encode(images)
        decoder = network.decoder
        panel = decoder.panel + encoding.summary[:, None]
        normed = decoder.norms[0](panel)
        panel = decoder.norms[1](panel + decoder.self_attention(normed, normed)[0])
        query = decoder.cross_attention.query(panel).view(2, 2, 3, 2, 32)
        key = decoder.cross_attention.key(encoding.tokens).view(2, 2, 16, 2, 32).transpose(2, 3)
        got = network(images).patch_saliency
    torch.testing.assert_close(got.double(), naive(query, key), rtol=1e-4, atol=1e-7)


def test_controls():
    images = crops(3, 5)
    torch.testing.assert_close(control_saliency("uniform", images), torch.full((3, 5), 0.2))
    drawn = control_saliency("random", images)
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(3))
    assert (drawn > 0).all()
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(control_saliency("random", images), drawn)  # no second look changes it
    assert torch.equal(control_saliency("random", images[1:2]), drawn[1:2])  # nor the company
    network = LMLNetwork("test_vit", pretrained=False, saliency="uniform", decoder_heads=2)
    scores = network(crops(1, 4))
    assert scores.patch_saliency is None
    assert scores.saliency.tolist() == [[0.25] * 4]


def test_random_saliency_has_no_favorite():
    """Over many images each of four crops is the salient one equally often, be it dark or bright."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (2000, 4, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images += torch.tensor([0, 50, 100, 150], dtype=torch.uint8).view(4, 1, 1, 1)
    counts = control_saliency("random", images).argmax(dim=1).bincount(minlength=4)
    assert ((counts - 500).abs() < 5 * 500**0.5).all()
