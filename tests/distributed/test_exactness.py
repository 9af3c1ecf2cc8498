"""Complete runs: two and four processes give the results of one process with the same global batch.

Nothing is mocked: the task, a data module on files, Lightning's Trainer with its DDP strategy, and gloo.
"""

import re
from pathlib import Path

import pytest
import torch
from distributed.runs import GLOBAL_BATCH, in_processes, train, write_images
from torch import distributed

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")

SCENARIOS = {
    "shipped": {"trainer": {"gradient_clip_val": 0.1}},
    "accumulated": {
        "task": {"positives": "cluster", "inter_weighting": "none", "schedule": "step"},
        "trainer": {"accumulate_grad_batches": 2, "max_epochs": 3},
    },
    "regression": {"task": {"lambda_manifold": 0.0, "lambda_mutual": 0.0}},
    "random": {"task": {"saliency": "random", "drop_path": 0.3}},
    "batch_norm": {
        "task": {
            "backbone": "test_efficientnet",
            "saliency": "panel_attention",
            "decoder_width": 32,
            "train_batch_norm": True,
        },
        "trainer": {"sync_batchnorm": True},  # alone, this would drop the activations of the encoder
    },
    "compiled": {"task": {"compile": "eager"}, "trainer": {"max_epochs": 1}},
    "few": {"trainer": {"max_epochs": 3}},  # 6 images, fewer than a batch
}
ON_FOUR = ("shipped", "batch_norm", "few")
CASES = [(2, name) for name in SCENARIOS] + [(4, name) for name in ON_FOUR]
SCALE = Path(__file__).parents[2] / "benchmarks" / "scale.md"
GUARANTEES = {
    "losses": "every loss term of every step",
    "gradients": "gradients of every step",
    "weights": "weights and buffers of student and teacher",
    "metrics": "metrics of validation and test",
}


def printed(guarantee):
    """Tolerance and largest measured deviation, both absolute, as the table in benchmarks/scale.md prints them."""
    table = SCALE.read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {guarantee}[^|]*\| `test_same_numbers` \|([^|]+)\|([^|]+)\|$", table, re.MULTILINE)
    return [float(cell.split()[0]) for cell in row]


def test_measured_deviations_are_below_the_tolerances():
    for guarantee in GUARANTEES.values():
        tolerance, measured = printed(guarantee)
        assert 0 < measured < tolerance <= 3e-4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    return {name: write_images(root / name, train=6 if name == "few" else 21) for name in ("few", "many")}


def run(name, world, folders):
    options = SCENARIOS[name]
    if world == 1:
        options = {part: {k: v for k, v in given.items() if k != "compile"} for part, given in options.items()}
    return train(folders["few" if name == "few" else "many"], world=world, **options)


def process(rank, world, folders):
    results = {name: run(name, world, folders) for name in (SCENARIOS if world == 2 else ON_FOUR)}
    results["crops"] = train(folders["many"], world=world, change=more_crops_on_later_ranks, trainer={"max_epochs": 1})
    return results


def more_crops_on_later_ranks(model, data):
    data.crops += distributed.get_rank()


@pytest.fixture(scope="module")
def alone(folders):
    return {name: run(name, 1, folders) for name in SCENARIOS}


@pytest.fixture(scope="module")
def launched(folders):
    """Records of each process, by number of processes."""
    return {world: in_processes(world, process, folders) for world in (2, 4)}


def furthest(first, second):
    """Largest absolute difference between two dictionaries with the same keys."""
    assert first.keys() == second.keys()
    return max(
        float((torch.as_tensor(first[k]).double() - torch.as_tensor(second[k]).double()).abs().max()) for k in first
    )


@pytest.mark.parametrize(("world", "name"), CASES)
def test_same_numbers(world, name, alone, launched):
    one, ranks = alone[name], [rank[name] for rank in launched[world]]
    assert one["steps"] == ranks[0]["steps"] == len(one["gradients"])
    for n, images in enumerate(one["images"]):  # the same images in the same order
        assert [i for rank in ranks for i in rank["images"][n]] == images
    for rank in ranks:
        assert len(rank["losses"]) == len(one["losses"])
        deviations = {
            "losses": max(map(furthest, rank["losses"], one["losses"])),
            "gradients": max(map(furthest, rank["gradients"], one["gradients"])),
            "weights": furthest(rank["weights"], one["weights"]),
            "metrics": furthest(rank["metrics"], one["metrics"]),
        }
        print(deviations)  # for the table of measured deviations: pytest -rP
        assert not {name: d for name, d in deviations.items() if d >= printed(GUARANTEES[name])[0]}
        assert furthest(rank["weights"], ranks[0]["weights"]) == 0
    for n, salient in enumerate(one["salient"]):
        assert {i: k for rank in ranks for i, k in rank["salient"][n].items()} == salient


@pytest.mark.parametrize(("world", "name"), CASES)
def test_evaluation_sees_every_image_once(world, name, alone, launched):
    for part in ("val", "test"):
        seen = sorted(i for rank in launched[world] for i in rank[name]["evaluated"][part])
        assert seen == sorted(alone[name]["evaluated"][part])
    assert len(set(seen)) == len(seen) == 11


def test_scenarios_are_meaningful(alone):
    """Every scenario trains, distinguishes crops, and covers its special case."""
    for name, one in alone.items():
        assert all(max(g.abs().max() for g in step.values()) > 1e-3 for step in one["gradients"]), name
        assert len(one["images"][0]) == (6 if name == "few" else GLOBAL_BATCH)
    for name in ("shipped", "random"):
        assert len({k for step in alone[name]["salient"] for k in step.values()}) == 3
    norm = torch.stack([g.square().sum() for g in alone["shipped"]["gradients"][0].values()]).sum().sqrt()
    assert norm > 0.1  # clipped
    assert alone["accumulated"]["steps"] == 3
    assert len(alone["accumulated"]["images"]) == 6
    changed = alone["batch_norm"]["weights"]["student.backbone.network.bn1.running_mean"]
    assert changed.abs().max() > 0


@pytest.mark.parametrize("world", [2, 4])
def test_processes_with_different_numbers_of_crops_train_on(world, launched):
    """With 3 + r crops per image on rank r, no process hangs, and all end with the same weights."""
    ranks = [rank["crops"] for rank in launched[world]]
    for rank in ranks:
        assert {len(rank["losses"]), len(rank["gradients"])} == {2}
        assert furthest(rank["weights"], ranks[0]["weights"]) == 0
        assert max(map(furthest, rank["losses"], ranks[0]["losses"])) == 0
