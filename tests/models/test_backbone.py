import pytest
import torch

from lml_iqa.models import LMLNetwork
from lml_iqa.models.backbone import FeatureBackbone, ViTBackbone, create_backbone

# name, crop size, tokens, width, heads of the attention that is handed out
TRANSFORMERS = [
    ("deit3_small_patch16_224", 64, 16, 384, 6),
    ("vit_small_patch14_dinov2", 56, 16, 384, 6),
    ("vit_tiny_patch16_dinov3_qkvb", 64, 16, 192, 3),
    ("vit_small_patch14_reg4_dinov2", 42, 9, 384, 6),
    ("test_vit", 48, 9, 64, 2),
]
# name, crop size, tokens, widths of the last stages
FEATURE_NETWORKS = [
    ("resnet18", 64, 4, [64, 128, 256, 512]),
    ("convnext_atto", 64, 4, [40, 80, 160, 320]),
    ("swin_tiny_patch4_window7_224", 224, 49, [96, 192, 384, 768]),
    ("tf_efficientnet_lite0", 64, 4, [24, 40, 112, 320]),
]


def crops(size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("name", "size", "tokens", "width", "heads"), TRANSFORMERS)
def test_transformers(name, size, tokens, width, heads):
    backbone = create_backbone(name, pretrained=False, tap_attention=True).eval()
    assert isinstance(backbone, ViTBackbone)
    assert backbone.width == width
    with torch.no_grad():
        encoding = backbone(crops(size))
    assert encoding.tokens.shape == (2, tokens, width)
    assert encoding.summary.shape == (2, width)
    query, key = encoding.attention
    assert query.shape == (2, heads, width // heads)
    assert key.shape == (2, heads, tokens, width // heads)
    # Summary and tokens are the network's own sequence; what lies between are registers.
    with torch.no_grad():
        sequence = backbone.network.forward_features(backbone.normalize(crops(size)))  # normed: these pool by token
    torch.testing.assert_close(encoding.summary, sequence[:, 0])
    torch.testing.assert_close(encoding.tokens, sequence[:, -tokens:])


@pytest.mark.parametrize(("name", "size", "tokens", "widths"), FEATURE_NETWORKS)
def test_feature_networks(name, size, tokens, widths):
    backbone = create_backbone(name, pretrained=False, tap_attention=False).eval()
    assert isinstance(backbone, FeatureBackbone)
    assert backbone.width == sum(widths)
    with torch.no_grad():
        encoding = backbone(crops(size))
    assert encoding.tokens.shape == (2, tokens, sum(widths))
    assert encoding.attention is None
    torch.testing.assert_close(encoding.summary, encoding.tokens.mean(dim=1))


def test_joins_the_last_stages_of_a_feature_network():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", pretrained=False, tap_attention=False, stages=2).eval()
    assert backbone.width == 256 + 512
    images = crops(64)
    with torch.no_grad():
        encoding = backbone(images)
        net = backbone.network
        stem = net.maxpool(net.act1(net.bn1(net.conv1(backbone.normalize(images)))))
        third = net.layer3(net.layer2(net.layer1(stem)))
        fourth = net.layer4(third)
    assert third.shape[-2:] == (4, 4)
    for m in range(2):
        for row in range(2):
            for column in range(2):
                fine = third[m, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(dim=(1, 2))
                expected = torch.cat([fine, fourth[m, :, row, column]])
                torch.testing.assert_close(encoding.tokens[m, 2 * row + column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "tf_efficientnet_lite0",  # layers after the last map
        "test_vit2",  # norm behind average pooling
        "test_vit3",  # attention pooling, as SigLIP has it
        "deit_tiny_distilled_patch16_224",  # a second head
    ],
)
def test_no_parameter_is_idle(name):
    """Distributed training stops at parameters that no loss reaches."""
    backbone = create_backbone(name, pretrained=False, tap_attention=False)
    encoding = backbone(crops(64))
    (encoding.tokens.square().sum() + encoding.summary.square().sum()).backward()
    assert not [key for key, parameter in backbone.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit3", "test_vit4", "eva02_tiny_patch14_224"])
def test_tokens_of_transformers_are_normalized(name):
    """Wherever the network keeps its last norm: the decoder counts on it."""
    backbone = create_backbone(name, pretrained=False, tap_attention=False).eval()
    with torch.no_grad():
        tokens = backbone(crops(56 if "14" in name else 64)).tokens
    torch.testing.assert_close(tokens.square().mean(dim=-1), torch.ones(tokens.shape[:2]), rtol=0.02, atol=0)


def test_siglip_has_no_cls_token():
    name = "vit_base_patch32_siglip_256"  # the smallest of the family
    network = LMLNetwork(name, pretrained=False, saliency="panel_attention").eval()
    with torch.no_grad():
        images = crops(64, 4).unflatten(0, (2, 2))
        encoding = network.encode(images)
        scores = network.judge(encoding, images)
    assert encoding.tokens.shape == (4, 4, 768)
    torch.testing.assert_close(encoding.summary, encoding.tokens.mean(dim=1))
    assert scores.patch_saliency.shape == (2, 2, 4)
    torch.testing.assert_close(scores.saliency.sum(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match=rf"{name} .*saliency: panel_attention"):
        ViTBackbone(network.backbone.network, tap_attention=True)  # as create_backbone does


def test_register_of_a_network_without_cls_token_is_no_summary():
    backbone = create_backbone("test_vit2", pretrained=False, tap_attention=False).eval()
    with torch.no_grad():
        encoding = backbone(crops(64))
    assert encoding.tokens.shape == (2, 16, 64)
    torch.testing.assert_close(encoding.summary, encoding.tokens.mean(dim=1))


@pytest.mark.parametrize("name", ["resnet18", "test_vit2", "vit_small_patch16_18x2_224"])
def test_joint_attention_is_refused_where_it_cannot_be_read(name):
    with pytest.raises(ValueError, match=rf"{name} .*saliency: panel_attention"):
        LMLNetwork(name, pretrained=False, saliency="joint_attention")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_panel_attention_works_for_feature_networks(name):
    network = LMLNetwork(name, pretrained=False, saliency="panel_attention").eval()
    with torch.no_grad():
        scores = network(crops(64, 4).unflatten(0, (2, 2)))
    assert scores.quality.shape == (2, 2)
    assert scores.embedding.shape == (2, 2, 128)
    torch.testing.assert_close(scores.embedding.norm(dim=-1), torch.ones(2, 2))
    torch.testing.assert_close(scores.saliency.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("deit3_small_patch16_224.fb_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("test_vit", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("eva02_tiny_patch14_224", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_normalizes_as_the_weights_expect(name, mean, std):
    backbone = create_backbone(name, pretrained=False, tap_attention=False)
    images = crops(4)
    got = backbone.normalize(images)
    assert got.dtype == torch.float32
    for m in range(2):
        for channel in range(3):
            for value, pixel in zip(got[m, channel].flatten(), images[m, channel].flatten(), strict=True):
                assert value.item() == pytest.approx((pixel.item() / 255 - mean[channel]) / std[channel], abs=1e-5)


def test_normalization_is_part_of_the_encoding():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", pretrained=False, tap_attention=False).eval()
    seen = []
    backbone.network.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        backbone(crops(64))
    torch.testing.assert_close(seen[0], backbone.normalize(crops(64)))
    assert not [key for key in backbone.state_dict() if key in ("mean", "std")]


@pytest.mark.parametrize("tap_attention", [True, False])
def test_unknown_name(tap_attention):
    with pytest.raises(ValueError, match=r"'deit3_smal'.*deit3_small_patch16_224"):
        create_backbone("deit3_smal", pretrained=False, tap_attention=tap_attention)


def test_names_what_weight_decay_must_leave_alone():
    names = create_backbone("deit3_small_patch16_224", pretrained=False, tap_attention=False).no_weight_decay()
    assert {"pos_embed", "cls_token"} <= names
    assert isinstance(create_backbone("resnet18", pretrained=False, tap_attention=False).no_weight_decay(), set)


def test_drop_path_reaches_the_network():
    torch.manual_seed(0)
    backbone = create_backbone("test_vit", pretrained=False, tap_attention=False, drop_path=0.9)
    first, second = (backbone(crops(64)).tokens for _ in range(2))
    assert not torch.equal(first, second)
    backbone.eval()
    assert torch.equal(backbone(crops(64)).tokens, backbone(crops(64)).tokens)
