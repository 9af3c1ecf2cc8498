import re

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image

from lml_iqa.datamodules import FolderDataModule
from lml_iqa.datasets import DatasetError

PHOTOGRAPHS = ["B.JPG", "a.png", "sub/deep/c (1).bmp", "sub/d.webp"]


@pytest.fixture
def root(tmp_path):
    for i, name in enumerate(PHOTOGRAPHS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + i, 5 + 20 * i), (i, i, i)).save(tmp_path / name)
    for name in ("notes.txt", "sub/report.pdf", "sub/._a.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"not an image")
    return tmp_path


def folder(root, **options):
    return FolderDataModule(root, **{"crop_size": 16, "batch_size": 3, "eval_crops": 4, "num_workers": 0, **options})


class Nothing(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.images = []

    def training_step(self, batch):
        return self.weight * 0

    def test_step(self, batch):
        return None

    def predict_step(self, batch):
        self.images += batch["image_id"].tolist()

    def configure_optimizers(self):
        return None


def quiet_trainer():
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def test_serves_all_photographs_in_order(root):
    module = folder(root)
    module.setup("predict")
    assert module.table.files.tolist() == sorted(PHOTOGRAPHS)
    assert not module.table.rated
    batches = list(module.predict_dataloader())
    assert [batch["image_id"].tolist() for batch in batches] == [[0, 1, 2], [3]]
    assert batches[0]["crops"].shape == (3, 4, 3, 16, 16)
    assert torch.cat([batch["mos"] for batch in batches]).isnan().all()
    assert (batches[0]["crops"][1] == 1).all()  # a.png


def test_predict(root):
    model = Nothing()
    quiet_trainer().predict(model, folder(root, num_workers=1))
    assert model.images == [0, 1, 2, 3]


def test_root_as_text(root):
    assert len(folder(str(root)).table) == 4


@pytest.mark.parametrize("stage", ["fit", "test", "validate"])
def test_only_predict_is_possible(root, stage):
    with pytest.raises(DatasetError, match=re.escape(str(root)) + r".*no human scores.*only be scored \(predict\)"):
        folder(root).setup(stage)


def test_fit_and_test_are_refused(root):
    with pytest.raises(DatasetError, match="no human scores"):
        quiet_trainer().fit(Nothing(), folder(root))
    with pytest.raises(DatasetError, match="no human scores"):
        quiet_trainer().test(Nothing(), folder(root), verbose=False)


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DatasetError, match=re.escape(str(tmp_path)) + ".*no image files.*; give the folder that contains"
    ):
        folder(tmp_path).setup("predict")


def test_missing_folder_and_file_are_refused(root):
    with pytest.raises(DatasetError, match=r"gone does not exist; set data\.root"):
        folder(root / "gone").setup("predict")
    with pytest.raises(DatasetError, match=r"a\.png is a file; set data\.root"):
        folder(root / "a.png").setup("predict")


def test_broken_image_is_named(root):
    (root / "sub" / "e.jpg").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"e\.jpg: not an image that Pillow can read; replace the file"):
        list(folder(root).predict_dataloader())
