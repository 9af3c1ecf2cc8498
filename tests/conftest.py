"""Fixtures shared by several test folders."""

from pathlib import Path

import pytest
import torch
from data.biq2021 import write_biq2021

torch.set_num_threads(1)

# Seconds of the longest files on two cores (`pytest --durations=0`); `pytest -m "not slow"` leaves them out.
SLOW = {
    "callbacks/test_file_names.py": 27,
    "data_tools/test_validate.py": 17,
    "datasets/test_benchmarks.py": 16,
    "datasets/test_scale.py": 71,
    "datasets/test_shards.py": 26,
    "datasets/test_synthetic.py": 18,
    "distributed/test_exactness.py": 65,
    "distributed/test_launch.py": 46,
    "distributed/test_nodes.py": 57,
    "distributed/test_ray.py": 76,
    "distributed/test_slurm.py": 194,
    "experiments/test_cross.py": 77,
    "experiments/test_few_labels.py": 15,
    "experiments/test_loggers.py": 45,
    "experiments/test_repeats.py": 184,
    "experiments/test_sweep.py": 18,
    "experiments/test_wandb_schema.py": 68,
    "models/test_weights.py": 11,
    "survival/test_foreign_checkpoints.py": 24,
    "survival/test_kills.py": 79,
    "survival/test_signals.py": 85,
    "survival/test_workers.py": 11,
    "tasks/test_compile.py": 47,
    "tasks/test_lml_task.py": 17,
    "tasks/test_precision.py": 56,
    "tasks/test_scales.py": 27,
    "test_ablation.py": 32,
    "test_cli.py": 70,
    "test_notebooks.py": 154,
    "test_readme.py": 47,
    "transforms/test_distortions.py": 22,
    "utils/test_trainer_options.py": 81,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the longest files as slow, and the exhaustive ones."""
    for item in items:
        file = item.path.relative_to(Path(__file__).parent).as_posix()
        if file in SLOW or item.get_closest_marker("exhaustive"):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real data beside the checkout; tests that need it are skipped without it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder


@pytest.fixture(scope="session")
def biq2021_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BIQ2021 with 13 training and 5 test images; read-only."""
    return write_biq2021(tmp_path_factory.mktemp("biq2021"))
