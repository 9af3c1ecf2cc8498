"""Fixtures shared by several test folders."""

from pathlib import Path

import pytest
import torch
from data.biq2021 import write_biq2021

torch.set_num_threads(1)


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
