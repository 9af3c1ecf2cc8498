"""Maps of crop scores: values against a loop over pixels, and the files of a prediction."""

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from lml_iqa import FolderDataModule, LMLTask, QualityMaps
from lml_iqa.callbacks.quality_map import map_crops


def test_pixel_is_mean_of_covering_crops():
    rng = np.random.default_rng(0)
    values = rng.random(7).astype(np.float32)
    positions = np.stack([rng.integers(0, 20 - 8 + 1, 7), rng.integers(0, 30 - 8 + 1, 7)], axis=1)
    found = map_crops(values, positions, 8, 20, 30)
    for y in range(20):
        for x in range(30):
            inside = (positions <= (y, x)).all(axis=1) & (positions + 8 > (y, x)).all(axis=1)
            expected = values[inside].mean() if inside.any() else np.nan
            assert found[y, x] == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_prediction_writes_a_map_per_image(tmp_path):
    photos = tmp_path / "photos"
    (photos / "trip").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("one.png", "trip/one.png"):
        Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(photos / name)
    task = LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4)
    logger = CSVLogger(tmp_path, name="run", version=0)
    trainer = Trainer(accelerator="cpu", logger=logger, callbacks=[QualityMaps()], enable_progress_bar=False)
    data = FolderDataModule(photos, crop_size=32, eval_crops=6, num_workers=0)
    trainer.predict(task, data, return_predictions=False)
    maps = tmp_path / "run" / "version_0" / "maps"
    assert sorted(p.relative_to(maps).as_posix() for p in maps.rglob("*.png")) == ["one.png.png", "trip/one.png.png"]
    with Image.open(maps / "one.png.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    assert np.ptp(pixels, axis=1).max() > 60  # the maps are in color, the noise behind them is drawn


def test_other_data(tmp_path):
    task = LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4)
    with pytest.raises(TypeError, match="QualityMaps: needs an LMLTask and a data module"):
        QualityMaps().on_predict_batch_end(Trainer(accelerator="cpu", logger=False), task, {})
