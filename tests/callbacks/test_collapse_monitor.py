"""The monitor's metrics cover the validation set, also after a sanity check on a few of its batches."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lml_iqa import BIQ2021DataModule, CollapseMonitor, LMLTask
from lml_iqa.metrics import effective_rank, saliency_entropy


def trainer(tmp_path, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, **quiet, **options)


@pytest.mark.parametrize("frozen", [False, True])
def test_metrics_of_the_validation_set(biq2021_root, tmp_path, frozen):
    options = {"backbone": "test_vit", "pretrained": False, "decoder_heads": 4, "freeze_backbone": frozen}
    task = LMLTask(**options)
    data = BIQ2021DataModule(
        biq2021_root, batch_size=2, crops=2, eval_crops=4, crop_size=32, val_fraction=0.4, num_workers=0
    )
    run = trainer(tmp_path, max_epochs=1, callbacks=[CollapseMonitor()])  # begins with a sanity check
    run.fit(task, datamodule=data)
    predictions = trainer(tmp_path).predict(task, data.val_dataloader())
    embeddings, saliency = (torch.cat([batch[key] for batch in predictions]) for key in ("embedding", "saliency"))
    assert embeddings.shape == (len(data.split.val), 128)
    assert embeddings.norm(dim=1) == pytest.approx(1.0)
    found = run.callback_metrics
    assert float(found["val/embedding_rank"]) == pytest.approx(float(effective_rank(embeddings)), rel=1e-4)
    assert float(found["val/saliency_entropy"]) == pytest.approx(float(saliency_entropy(saliency)), rel=1e-4)


def test_embedding_of_the_salient_crop():
    task = LMLTask(backbone="test_vit", pretrained=False, decoder_heads=4).eval()
    crops = torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8)
    batch = {"crops": crops, "image_id": torch.arange(3), "positions": torch.zeros(3, 4, 2)}
    with torch.no_grad():
        embedding = task.predict_step(batch, 0)["embedding"]
        scores = task(crops)
    for i, salient in enumerate(scores.saliency.argmax(dim=1)):
        assert torch.equal(embedding[i], scores.embedding[i, salient])


def test_other_task():
    with pytest.raises(TypeError, match="CollapseMonitor: needs an LMLTask"):
        CollapseMonitor().on_validation_batch_end(None, LightningModule(), {})
