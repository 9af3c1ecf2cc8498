"""Two runs in one folder, and a resumed run: no file is lost."""

import csv
from pathlib import Path

import pytest

from lml_iqa.main import main
from lml_iqa.utils.run_dir import claim

CONFIG = Path(__file__).parents[2] / "configs" / "biq2021.yaml"


def command(root, folder, *more):
    return [
        *("fit", f"--config={CONFIG}", f"--data.root={root}", "--model.backbone=test_vit", "--model.pretrained=false"),
        *("--model.decoder_heads=4", "--data.val_fraction=0.25", "--data.crop_size=32", "--data.num_workers=0"),
        *(
            "--data.batch_size=4",
            "--trainer.accelerator=cpu",
            "--trainer.log_every_n_steps=1",
            "--test_after_fit=false",
        ),
        *(f"--trainer.logger.init_args.save_dir={folder}", "--trainer.logger.init_args.version=mine", *more),
    ]


def test_folder_of_a_running_run_is_rejected(biq2021_root, tmp_path):
    folder = tmp_path / "biq2021" / "mine"
    with claim(folder):
        (folder / "metrics.csv").write_text("of the other run")
        with pytest.raises(SystemExit, match=r"mine: in use by another run; .*version NAME"):
            main(command(biq2021_root, tmp_path))
    assert {path.name for path in folder.iterdir()} == {".lock", "metrics.csv"}
    assert (folder / "metrics.csv").read_text() == "of the other run"
    main(command(biq2021_root, tmp_path, "--trainer.max_epochs=1"))
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_resumed_run_keeps_earlier_metrics(biq2021_root, tmp_path):
    folder = tmp_path / "biq2021" / "mine"
    main(command(biq2021_root, tmp_path, "--trainer.max_epochs=1"))
    main(
        command(biq2021_root, tmp_path, "--trainer.max_epochs=2", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}")
    )
    steps = []
    for name in ("metrics_1.csv", "metrics.csv"):
        with (folder / name).open(newline="") as file:
            steps += [int(row["step"]) for row in csv.DictReader(file) if row["train/loss_step"]]
    assert steps == [0, 1, 2, 3]
