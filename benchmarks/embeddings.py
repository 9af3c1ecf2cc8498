"""Plot the embeddings of test images, colored by MOS, of runs without and with the manifold loss.

    python benchmarks/embeddings.py runs/ablation/image/seed0 runs/ablation/full/seed0 --output embeddings.png

Each folder is a finished run on BIQ2021. The plot shows the embeddings of the salient crops on their first two
principal axes. The titles show the effective rank of the embeddings (1 is a collapse), the PLCC of the MOS with the
mean MOS of the 10 nearest embeddings, and the entropy of the saliency over an image's crops, as a share of its maximum.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
import yaml
from lightning.pytorch import Trainer
from matplotlib.figure import Figure

from lml_iqa import BIQ2021DataModule, LMLTask, plcc
from lml_iqa.metrics import effective_rank, saliency_entropy


def mos_of_neighbors(embeddings: torch.Tensor, mos: torch.Tensor, count: int = 10) -> torch.Tensor:
    similarity = (embeddings @ embeddings.T).fill_diagonal_(-torch.inf)
    return mos[similarity.topk(count, dim=1).indices].mean(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    args = parser.parse_args()
    figure = Figure(figsize=(5.2 * len(args.runs), 4.6), layout="constrained")
    for axes, run in zip(figure.subplots(1, len(args.runs), squeeze=False)[0], args.runs, strict=True):
        data = BIQ2021DataModule(**yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"])
        data.setup("test")
        task = LMLTask.load_from_checkpoint(run / "checkpoints/best.ckpt", map_location="cpu")
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        batches = trainer.predict(task, data.test_dataloader())
        embeddings, saliency, rows = (
            torch.cat([batch[key] for batch in batches]) for key in ("embedding", "saliency", "image_id")
        )
        mos = torch.from_numpy(data.scale.to_unit(data.table.scores[rows])).float()
        x, y = torch.pca_lowrank(embeddings, q=2)[0].T
        dots = axes.scatter(x, y, c=mos, s=10, cmap="RdYlGn")
        axes.set_title(
            f"{run.parent.name}: effective rank {effective_rank(embeddings):.0f} of {embeddings.shape[1]},\n"
            f"10 neighbors' PLCC {plcc(mos_of_neighbors(embeddings, mos), mos):.3f}, "
            f"saliency entropy {saliency_entropy(saliency):.3f}"
        )
    figure.colorbar(dots, ax=axes, label="MOS, 0..1")
    figure.savefig(args.output, dpi=100)


if __name__ == "__main__":
    main()
