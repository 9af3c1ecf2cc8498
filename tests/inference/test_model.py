"""Loading of trained networks, and scores of single images."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from lml_iqa import DatasetError, LMLTask
from lml_iqa.errors import LMLError
from lml_iqa.images import shrink
from lml_iqa.inference import QualityModel, load
from lml_iqa.inference.lanczos import resize

NETWORK = {"backbone": "test_vit", "decoder_heads": 4, "embedding_dim": 8}
SCALE = {"name": "DMOS", "low": 0.0, "high": 10.0, "higher_is_better": False}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return QualityModel(NETWORK, SCALE, crops=4, crop_size=32, short_side=48, interval=1.5)


@pytest.fixture(scope="module")
def pixels():
    small = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((150, 100), Image.Resampling.BICUBIC))


def test_every_kind_of_image_has_the_same_score(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels, tensor]
    scores = model.score(kinds)
    assert len(set(scores)) == 1
    assert model(tensor).item() == pytest.approx(scores[0].score, abs=1e-6)
    assert 0 <= scores[0].low < scores[0].score < scores[0].high <= 10
    gray = model.score([pixels[..., 0], np.repeat(pixels[..., :1], 3, axis=2)])
    assert gray[0] == gray[1] != scores[0]


def test_scores_do_not_depend_on_the_other_images(model, pixels):
    images = [pixels, pixels[::-1].copy(), pixels[:60, :40].copy(), pixels[:10, :9].copy()]
    together = model.score(images)
    assert [model.score([image])[0] for image in images] == together
    assert model.score(images[::-1])[::-1] == together
    assert len(set(together)) == 4


def test_scores_are_those_of_the_task(pixels, tmp_path):
    """The packaged form of a checkpoint against the LightningModule that saved it."""
    from lightning.pytorch import Trainer

    from lml_iqa import TableDataModule

    rng = np.random.default_rng(1)
    rows = ["path,score"]
    for n in range(12):
        Image.fromarray(rng.integers(0, 256, (40 + n, 60, 3), dtype=np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png,{n}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = TableDataModule(
        tmp_path, "labels.csv", batch_size=4, crops=2, eval_crops=4, crop_size=32, num_workers=0, low=0, high=20, seed=0
    )
    task = LMLTask(pretrained=False, **NETWORK)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    batches = trainer.predict(task, datamodule=data)
    expected = torch.cat([batch["score"] for batch in batches]).numpy()
    model = load(tmp_path / "last.ckpt")
    assert (model.crops, model.crop_size, model.short_side, str(model.scale)) == (4, 32, None, str(data.scale))
    found = model.score([data.table.path(row) for row in range(12)])
    np.testing.assert_allclose([score.score for score in found], expected, atol=1e-4)
    assert math.isnan(found[0].low)


def test_saved_model_is_the_same(model, pixels, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.score([pixels]) == model.score([pixels])
    assert again.id == model.id
    assert again.interval == 1.5
    assert again.scale == model.scale


def test_gradient_reaches_the_pixels(model, pixels):
    image = (torch.from_numpy(pixels.copy()).permute(2, 0, 1).double() / 255).requires_grad_()
    score = model(image.float())
    assert score.item() == pytest.approx(model.score([pixels])[0].score, abs=0.02)  # no rounding to 8 bits
    (gradient,) = torch.autograd.grad(score, image)
    assert gradient.shape == image.shape
    assert gradient.abs().max() > 0
    direction = gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (model((image + step * direction).clamp(0, 1).float()) for step in (0.05, -0.05))
    slope = float(ahead - behind) / 0.1
    assert slope == pytest.approx(float(gradient.norm()), rel=0.2)


def test_opened_files_are_decoded_like_paths(model, pixels, tmp_path):
    alpha = np.linspace(0, 255, pixels.shape[0] * pixels.shape[1]).reshape(pixels.shape[:2]).astype(np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    picture.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "transparent.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    picture.quantize(16).save(tmp_path / "palette.png")
    scores = set()
    for path in sorted(tmp_path.iterdir()):
        with Image.open(path) as image:
            assert model.score([image]) == model.score([path])
        scores.update(model.score([path]))
    assert len(scores) == 4
    in_memory = Image.fromarray(np.dstack([pixels, alpha]))
    assert model.score([in_memory]) == model.score([tmp_path / "transparent.png"])
    picture.save(tmp_path / "loaded.bmp")
    with Image.open(tmp_path / "loaded.bmp") as loaded:
        loaded.load()
    with pytest.raises(ValueError, match=r"cannot decode this PIL image .*; give the path of its file"):
        model.score([loaded])
    with pytest.raises(ValueError, match="no defined black and white"):
        model.score([Image.fromarray(pixels[..., 0].astype(np.float32))])


def test_small_float_images_are_padded_like_others(model, pixels):
    small = torch.from_numpy(pixels[:9, :14].copy()).permute(2, 0, 1)
    assert model(small.float() / 255).item() == pytest.approx(model(small).item(), abs=1e-4)


@pytest.mark.parametrize("size", [(137, 40), (100, 300), (48, 48), (30, 200)])
def test_resizing_of_tensors_is_pillows(pixels, size):
    image = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    expected = shrink(image, 48).astype(float)
    found = resize(torch.from_numpy(image).permute(2, 0, 1).double() / 255, 48).permute(1, 2, 0).numpy() * 255
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() < 2.5  # Pillow rounds twice
    assert difference.mean() < 0.35


def test_invalid_images_are_refused(model, tmp_path):
    for image, message in (
        ("https://example.org/a.png", "URLs are not opened"),
        (torch.zeros(1, 3, 8, 8), r"tensors must be \(3, H, W\)"),
        (torch.full((3, 64, 64), 3.0), r"must be in 0\.\.1"),
        (np.zeros((8, 8, 3)), r"uint8, not \(8, 8, 3\) float64"),
        (3, "cannot score a int"),
    ):
        with pytest.raises(ValueError, match=message):
            model.score([image])
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"a\.png: not an image"):
        model.score([tmp_path / "a.png"])


def test_missing_and_foreign_models_are_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    for source in (tmp_path / "foreign.ckpt", tmp_path / "none.ckpt", "nothing"):
        with pytest.raises(LMLError, match=str(source).replace("\\", ".")):
            load(source)
