"""What the README shows works."""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from data.biq2021 import TRAIN
from lightning.pytorch import Trainer
from PIL import Image

from lml_iqa import BIQ2021DataModule
from lml_iqa.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_two_commands_are_those_that_ci_runs():
    first, second = blocks("bash")[:2]
    assert first.strip() == 'pip install -e ".[quickstart]" && lml-iqa fit --config configs/quickstart.yaml'
    assert second.strip() == 'pip install -e ".[test]" && pytest'
    assert "block 1" in (ROOT / ".ci" / "run").read_text()
    assert "block 2" in (ROOT / ".ci" / "run").read_text()


def test_the_model_works_in_another_lightning_project(biq2021_root, tmp_path):
    code = next(code for code in blocks("python") if "MyQualityModel" in code)
    names = {}
    exec(code, names)
    model = names["MyQualityModel"]("test_vit", pretrained=False, decoder_heads=4)
    before = [p.clone() for p in model.pair.teacher.parameters()]
    data = BIQ2021DataModule(biq2021_root, batch_size=4, crops=2, crop_size=32, num_workers=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path
    )
    trainer.fit(model, train_dataloaders=data.train_dataloader())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.pair.teacher.parameters(), strict=True))
    scores = trainer.predict(model, dataloaders=data.predict_dataloader())
    assert sum(len(score) for score, _ in scores) == 18


def test_adding_a_data_set(tmp_path):
    code = next(code for code in blocks("python") if "HolidaySnaps" in code)
    command = next(line for line in "".join(blocks("bash")).splitlines() if "HolidaySnaps" in line)
    (tmp_path / "holiday.py").write_text(code)
    photos = tmp_path / "snaps" / "photos_small"
    photos.mkdir(parents=True)
    rows = {f"{i}.png": 1 + i / 2 for i in range(8)}
    for name in rows:
        Image.effect_noise((40, 32), 50).save(photos / name)
    labels = photos.parent / "metadata" / "scores.csv"
    labels.parent.mkdir()
    labels.write_text("photo,mos\n" + "".join(f"{name.upper()},{mos}\n" for name, mos in rows.items()))
    args = command.replace("configs/", f"{ROOT}/configs/").replace("DIR", "snaps").split()
    tiny = ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4", "--data.crop_size=32"]
    done = subprocess.run(
        [sys.executable, *args[1:], *tiny, "--data.num_workers=0", "--trainer.max_epochs=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    split = json.loads((tmp_path / "runs" / "biq2021" / "version_0" / "split.json").read_text())
    assert sorted([*split["train"], *split["val"], *split["test"]]) == sorted(rows)


def test_training_on_own_ratings(biq2021_root, tmp_path, monkeypatch):
    (overlay,) = blocks("yaml")
    photos = tmp_path / "photos"
    photos.symlink_to(biq2021_root / "Images", target_is_directory=True)
    (tmp_path / "ratings.csv").write_text(
        "path,score\n" + "\n".join(f"{name},{score}" for name, score in TRAIN.items()), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(overlay)
    assert yaml.safe_load(overlay)["data"]["init_args"]["labels"] == "ratings.csv"
    main(
        ["fit", "--config", str(ROOT / "configs" / "biq2021.yaml"), "--config", "mine.yaml"]
        + ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
        + ["--data.crop_size=32", "--data.num_workers=0", "--data.val_fraction=0.3"]
        + ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    )
    assert Path("runs/biq2021/version_0/report.png").is_file()
