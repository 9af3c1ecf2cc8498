import pytest
import torch
from torch import nn

from lml_iqa.models import LMLNetwork
from lml_iqa.models.panel_decoder import PanelDecoder

WIDTH, HEADS, PANEL = 24, 3, 5


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    decoder = PanelDecoder(WIDTH, width=WIDTH, panel_size=PANEL, heads=HEADS)
    with torch.no_grad():
        for parameter in decoder.parameters():  # no ones, zeros or smallness to hide behind
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    return decoder


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 7, WIDTH, generator=generator), torch.randn(2, WIDTH, generator=generator)


def torch_layer(decoder):
    """PyTorch's own layer with the same weights."""
    layer = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    with torch.no_grad():
        for theirs, ours in (
            (layer.self_attn, decoder.self_attention),
            (layer.multihead_attn, decoder.cross_attention),
        ):
            theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
            theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
            theirs.out_proj.load_state_dict(ours.out.state_dict())
        for theirs, ours in zip((layer.norm1, layer.norm2, layer.norm3), decoder.norms[:3], strict=True):
            theirs.load_state_dict(ours.state_dict())
        layer.linear1.load_state_dict(decoder.feedforward[0].state_dict())
        layer.linear2.load_state_dict(decoder.feedforward[2].state_dict())
    return layer


def test_equals_torchs_layer(decoder, inputs):
    tokens, summary = inputs
    panel = decoder(tokens, summary).panel
    queries = decoder.panel[None] + summary[:, None]
    expected = decoder.norms[3](torch_layer(decoder)(queries, tokens))
    torch.testing.assert_close(panel, expected, rtol=1e-4, atol=1e-5)


def test_hands_out_the_real_cross_attention(decoder, inputs):
    tokens, summary = inputs
    layer = torch_layer(decoder)
    queries = decoder.panel[None] + summary[:, None]
    normed = layer.norm1(queries)
    queries = queries + layer.self_attn(normed, normed, normed)[0]
    _, expected = layer.multihead_attn(layer.norm2(queries), tokens, tokens, average_attn_weights=False)
    output = decoder(tokens, summary)
    assert output.query.shape == (2, PANEL, HEADS, WIDTH // HEADS)
    assert output.key.shape == (2, HEADS, 7, WIDTH // HEADS)
    logits = torch.einsum("mphd,mhnd->mhpn", output.query, output.key) * (WIDTH // HEADS) ** -0.5
    torch.testing.assert_close(logits.softmax(dim=-1), expected, rtol=1e-4, atol=1e-6)


def test_order_of_tokens_does_not_matter_but_their_values_do(decoder, inputs):
    tokens, summary = inputs
    panel = decoder(tokens, summary).panel
    torch.testing.assert_close(decoder(tokens.flip(1), summary).panel, panel)
    assert not torch.allclose(decoder(tokens * 2, summary).panel, panel, atol=1e-2)
    assert not torch.allclose(decoder(tokens, summary * 2).panel, panel, atol=1e-2)


def test_projects_tokens_of_another_width():
    torch.manual_seed(0)
    decoder = PanelDecoder(10, width=WIDTH, panel_size=PANEL, heads=HEADS)
    tokens, summary = torch.randn(2, 7, 10), torch.randn(2, 10)
    output = decoder(tokens, summary)
    assert output.panel.shape == (2, PANEL, WIDTH)
    # Magnitude is normalized away first: stages of a CNN differ in it by orders.
    torch.testing.assert_close(decoder(tokens * 1000, summary * 1000).panel, output.panel, rtol=1e-3, atol=1e-3)


def test_gradient_reaches_every_parameter(decoder, inputs):
    decoder(*inputs).panel.square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        # A key bias moves all logits of a query alike: softmax ignores it.
        if not name.endswith("key.bias"):
            assert parameter.grad.abs().max() > 1e-4, name


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"decoder_heads=5 must divide decoder_width=24"):
        PanelDecoder(WIDTH, width=WIDTH, heads=5)


def test_size_is_deiqts():
    """DEIQT (AAAI 2023) counts 24.04 M parameters; the projector is not its."""
    network = LMLNetwork("deit3_small_patch16_224", pretrained=False)
    millions = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("projector.")) / 1e6
    assert millions == pytest.approx(24.04, abs=0.05)
