import math

import pytest
import torch

from lml_iqa.models import LMLNetwork
from lml_iqa.tasks.parameter_groups import parameter_groups
from lml_iqa.tasks.schedules import learning_rate_factor, teacher_momentum


def factors(total, **options):
    return [learning_rate_factor(step, total, **options) for step in range(total)]


def test_cosine_by_hand():
    expected = [0.5, 1.0] + [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert factors(10, schedule="cosine", warmup=0.2) == pytest.approx(expected)


@pytest.mark.parametrize("steps", [1, 7])
def test_step_is_the_nine_epochs_of_the_protocol(steps):
    """Three epochs of warm-up, three at the full rate, three at a tenth, for any number of steps per epoch."""
    found = factors(9 * steps, schedule="step", warmup=3 / 9)
    assert found[: 3 * steps] == pytest.approx([(step + 1) / (3 * steps) for step in range(3 * steps)])
    assert found[3 * steps : 6 * steps] == pytest.approx([1.0] * 3 * steps)
    assert found[6 * steps :] == pytest.approx([0.1] * 3 * steps)


def test_constant_needs_no_warm_up():
    assert factors(3, schedule="constant", warmup=0.0) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1 / 3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("total", range(1, 21))
def test_factor_is_never_zero(schedule, warmup, total):
    found = factors(total, schedule=schedule, warmup=warmup)
    assert min(found) > 0
    assert max(found) <= 1
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert learning_rate_factor(total, total, schedule=schedule, warmup=warmup) == found[-1]  # schedulers evaluate it


def test_unknown_schedule():
    with pytest.raises(ValueError, match="schedule must be one of 'cosine', 'step', 'constant', not 'linear'"):
        learning_rate_factor(0, 10, schedule="linear", warmup=0.0)


@pytest.mark.parametrize("steps", [400, 20_000])
def test_teacher_horizon_is_a_share_of_the_run(steps):
    ages, weight = 0.0, 1.0  # mean age of the averaged weights, in steps
    for age, step in enumerate(range(steps, 0, -1)):
        momentum = teacher_momentum(step, 0.05)
        ages += age * weight * (1 - momentum)
        weight *= momentum
    assert ages / steps == pytest.approx(0.05, abs=0.006)


def test_teacher_momentum_rises_from_zero():
    momenta = [teacher_momentum(step, 0.05) for step in range(1, 1000)]
    assert momenta == sorted(momenta)
    assert momenta[0] < 1e-6
    assert momenta[-1] > 0.97


@pytest.mark.parametrize("freeze", [False, True])
def test_every_trainable_parameter_is_in_one_group_with_its_rates(freeze):
    network = LMLNetwork("vit_tiny_patch16_224", pretrained=False, decoder_heads=3, freeze_backbone=freeze)
    groups = parameter_groups(network, lr=1.0, weight_decay=0.05, backbone_lr=0.1, layer_decay=0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    trainable = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert sum(len(g["params"]) for g in groups) == len(rates) == len(trainable)
    assert rates[id(network.quality_head.weight)] == (1.0, 0.05)
    assert rates[id(network.quality_head.bias)] == (1.0, 0.0)
    assert rates[id(network.decoder.panel)] == (1.0, 0.0)
    if not freeze:
        encoder = network.backbone.network
        last, before = (rates[id(encoder.blocks[i].mlp.fc1.weight)] for i in (-1, -2))
        assert last[0] == pytest.approx(2 * before[0])
        assert last[1] == 0.05
        assert rates[id(encoder.pos_embed)][1] == rates[id(encoder.cls_token)][1] == 0.0
        assert max(g["lr"] for g in groups if g["params"][0] is not network.quality_head.weight) <= 1.0


def test_total_rate_follows_the_schedule_by_hand():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([{"params": [parameter], "lr": 2.0}])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, 10, schedule="cosine", warmup=0.1)
    )
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(2.0)  # the warm-up counts a step at its end
    assert rates[4] == pytest.approx(1 + math.cos(math.pi * 3 / 9))
