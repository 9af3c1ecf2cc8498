"""Train one network of each timm family for one step, and write the table in ``benchmarks/timm.md``.

    python benchmarks/timm_families.py --output benchmarks/timm.md

Networks have random weights. The step includes student and teacher and all loss terms, on two images of two crops each.
Crops are 64 pixels if the network supports it, else its native input size.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import timm
import torch

from lml_iqa import LMLNetwork, LMLPair, LocalManifoldLoss, image_score, mutual_loss

# One network per family (timm's module), usually the smallest.
FAMILIES = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla34",
    "dpn": "dpn68",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_s",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "caformer_s18",
    "mlp_mixer": "mixer_s16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_siglip",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_xs_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41",
    "xcit": "xcit_nano_12_p8_224",
}
NOT_TRIED = {
    "deepseek_vit": "412 M parameters in its smallest network",
    "fastvit": "torch 2.14 crashes in its backward pass on a CPU, without this package too",
}


class Outcome(NamedTuple):
    """Result of training a network for one step.

    Attributes:
        crops: Side of the crops in pixels.
        options: Options that the network needed.
        refused: Error that refused the network; empty if it was trained.
    """

    crops: int
    options: str
    refused: str


def try_network(name: str) -> Outcome:
    """Train a network for one step, adding the options that its errors name.

    Raises:
        AssertionError: A loss is not finite, a parameter has no gradient, or a second forward pass changes a score.
    """
    options: dict[str, int] = {}
    size = 64
    for _ in range(5):
        try:
            train_step(name, size, options)
        except ValueError as error:
            reason = str(error)
            if "set model.stages" in reason and "stages" not in options:
                options["stages"] = int(reason.split(" has ")[1].split()[0])
            elif "set model.img_size" in reason and "img_size" not in options and size == 64:
                options["img_size"] = size
            elif "img_size" in options or "set model.img_size" in reason:
                options.pop("img_size", None)
                input_size = timm.get_pretrained_cfg(name).input_size[-1]
                if size == input_size:
                    return Outcome(size, _shown(options), reason)
                size = input_size
            else:
                return Outcome(size, _shown(options), reason)
        else:
            return Outcome(size, _shown(options), "")
    return Outcome(size, _shown(options), reason)


def train_step(name: str, size: int, options: dict[str, int]) -> None:
    """Build a student and its teacher, and train them for one step."""
    torch.manual_seed(0)
    network = LMLNetwork(name, pretrained=False, saliency="panel_attention", **options)
    pair = LMLPair(network)
    crops = torch.randint(0, 256, (2, 2, 3, size, size), dtype=torch.uint8)
    mos, image_id = torch.tensor([0.2, 0.8]), torch.arange(2)
    student, teacher = pair(crops)
    score, _ = image_score(student, "saliency")
    loss = torch.nn.functional.smooth_l1_loss(score, mos) + (student.quality - mos[:, None]).square().mean()
    loss = loss + LocalManifoldLoss()(student.embedding, teacher.embedding, teacher.saliency, mos, image_id)
    loss = loss + sum(mutual_loss(student.quality, teacher.quality, student.saliency, teacher.saliency))
    assert loss.isfinite(), f"loss {loss}"
    loss.backward()
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    idle = [key for key, value in trained.items() if value.grad is None]
    assert not idle, f"{len(idle)} parameters get no gradient, which DDP refuses: {idle[:4]}"
    torch.optim.AdamW(trained.values(), lr=1e-4).step()
    pair.update_teacher(0.9)
    with torch.no_grad():
        first, again = (pair.teacher(crops).quality for _ in range(2))
    assert first.isfinite().all()
    assert torch.equal(first, again)


def sweep(families: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the family, the network and the result as a table cell."""
    for family, name in families.items():
        start = time.monotonic()
        try:
            outcome = try_network(name)
            how = f"crops of {outcome.crops} px{outcome.options}"
            cell = f"refused: {outcome.refused}" if outcome.refused else f"trained; {how}"
        except Exception as error:
            cell = f"FAILED: {type(error).__name__}: {str(error)[:300]}"
        print(f"{family}: {name}: {cell} ({time.monotonic() - start:.0f} s)", flush=True)
        yield family, name, cell


def _shown(options: dict[str, int]) -> str:
    return "".join(f", `{name}: {value}`" for name, value in options.items())


def main() -> None:
    """Test all families and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = list(sweep({family: FAMILIES[family] for family in given.families}))
    lines = [
        "# Networks of timm",
        "",
        f"`python benchmarks/timm_families.py --output benchmarks/timm.md`, timm {timm.__version__}: one network per",
        "family with random weights, trained for one step of the full method (`saliency: panel_attention`).",
        "",
        "| family | network | |",
        "|---|---|---|",
        *(f"| {family} | `{name}` | {' '.join(cell.split())} |" for family, name, cell in rows),
        *(f"| {family} | | not tried: {why} |" for family, why in NOT_TRIED.items()),
    ]
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
