"""LightningModule that trains the student, updates the EMA teacher, and reports scores in native units."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Literal

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from lml_iqa.datasets.crops import CropBatch
from lml_iqa.datasets.scale import ScoreScale, ratings_scale, scale_warning
from lml_iqa.losses import InterWeighting, LocalManifoldLoss, Positives, mutual_loss
from lml_iqa.metrics import QualityMetrics
from lml_iqa.models import (
    Aggregate,
    CropScores,
    LMLNetwork,
    LMLPair,
    Pretrained,
    Saliency,
    WeightsError,
    image_score,
    read_state,
)
from lml_iqa.tasks.checkpointed import CheckpointedTask, other_network
from lml_iqa.tasks.parameter_groups import parameter_groups
from lml_iqa.tasks.prediction import Prediction
from lml_iqa.tasks.schedules import Schedule, learning_rate_factor, teacher_momentum
from lml_iqa.utils.checkpoint_io import WholeCheckpointIO
from lml_iqa.utils.distributed import sum_over_processes, world
from lml_iqa.utils.options import check_choice, check_range
from lml_iqa.utils.trainer_options import check_precision

PredictWith = Literal["teacher", "student"]


class LMLTask(CheckpointedTask):
    """LML-IQA on any :class:`~lml_iqa.datamodules.base.IQADataModule`.

    The total loss is ``quality + lambda_image * image + lambda_manifold * manifold + lambda_mutual * mutual``; a weight
    of zero switches a term off. Options marked *ours* are not from the paper.

    Args:
        backbone: timm name of the encoder. Default: the protocol's DeiT-III ViT-S/16.
        pretrained: ``true``: timm's weights, from its cache or the hub; a path: a state dict, loaded strictly;
            ``"packaged"``: from an installed package; ``false``: random initialization.
        initial_weights: Checkpoint of another run from whose networks this run starts (fine-tuning). Unlike
            ``ckpt_path``, it does not set hyper-parameters.
        freeze_backbone: Whether to train only the decoder and the heads.
        train_batch_norm: Whether batch normalization uses batch statistics in training, over all processes.
        stages: Number of last stages of a feature network (CNN) to join. Ours.
        drop_path: Stochastic depth of the encoder, 0..1.
        img_size: Side of the crops in pixels (``data.crop_size``), for encoders built for one size.
        decoder_width: Width of the panel decoder; default the encoder's (feature networks: 192).
        decoder_heads: Attention heads of the panel decoder.
        panel_size: Number of learnable queries in the attention panel (DEIQT).
        embedding_dim: Width of the embeddings. Ours.
        saliency: Source of the crops' saliency: ``joint_attention``, ``panel_attention``, ``uniform`` or ``random``.
            Ours.
        lambda_image: Weight of the image term: smooth-L1 between the MOS and the mean of the crop scores weighted by
            the student's saliency. No other term teaches the saliency which crops count; the smaller the part of an
            authentic photograph that a crop shows, the more this helps. For distortions that are uniform over the
            image, as in synthetic sets, use 0 and ``aggregate: mean`` (``benchmarks/README.md``). Ours.
        lambda_manifold: Weight of the local-manifold loss, which structures the embeddings (ablation:
            ``benchmarks/README.md``). Ours.
        temperature: Temperature of the local-manifold loss. Ours.
        w_intra: Weight of its intra-class negatives. Ours.
        w_inter: Weight of its inter-class negatives. Ours.
        positives: Positives of the local-manifold loss: ``salient`` (the paper's v2) or ``cluster`` (v1).
        inter_weighting: Weights of its inter-class negatives: ``none`` or ``mos_gap``. Ours.
        lambda_mutual: Weight of mutual learning between student and teacher. Off by default, as the ablations showed
            no consistent gain (``benchmarks/README.md``). Ours.
        mutual_ramp: Share of the run over which mutual learning is ramped up linearly from zero. Ours.
        teacher_horizon: Averaging horizon of the EMA teacher, as a share of the steps so far, above 0 and up to 1; sets
            the momentum through :func:`~lml_iqa.tasks.schedules.teacher_momentum`. With horizons above 0.1 the teacher
            lags behind the student (``benchmarks/README.md``). Ours.
        beta: Point where the smooth-L1 losses turn from quadratic to linear, on the 0..1 scale. Ours.
        aggregate: Aggregation of crop scores to the image score: ``mean`` or ``saliency``. Ours.
        predict_with: Network whose scores are reported: ``teacher`` or ``student``. Ours.
        lr: AdamW's peak learning rate for decoder and heads.
        weight_decay: AdamW's weight decay; none on vectors, biases, position embeddings and class tokens.
        backbone_lr: Learning rate of the encoder as a multiple of ``lr``.
        layer_decay: Factor on the learning rate from each encoder layer to the one before; 1 for none. Pretrained ViTs
            other than DeiT-III may need about 0.65, with a lower ``backbone_lr``, to keep their weights intact
            (``benchmarks/README.md``).
        schedule: ``cosine``, ``step`` (the protocol's: x0.1 every third of the run) or ``constant``.
        warmup: Share of the run over which the learning rate rises from zero.
        compile: Whether to run the encoders through ``torch.compile``, or the name of a backend. Not stored in
            checkpoints, which are the same with and without it.

    Raises:
        ValueError: An option is out of range.
        WeightsError: The weights are unavailable or do not fit.
    """

    def __init__(
        self,
        *,
        backbone: str = "deit3_small_patch16_224.fb_in1k",
        pretrained: Pretrained = True,
        initial_weights: str | None = None,
        freeze_backbone: bool = False,
        train_batch_norm: bool = False,
        stages: int = 4,
        drop_path: float = 0.0,
        img_size: int | None = None,
        decoder_width: int | None = None,
        decoder_heads: int = 6,
        panel_size: int = 6,
        embedding_dim: int = 128,
        saliency: Saliency = "joint_attention",
        lambda_image: float = 1.0,
        lambda_manifold: float = 0.1,
        temperature: float = 0.2,
        w_intra: float = 1.0,
        w_inter: float = 1.0,
        positives: Positives = "salient",
        inter_weighting: InterWeighting = "mos_gap",
        lambda_mutual: float = 0.0,
        mutual_ramp: float = 0.2,
        teacher_horizon: float = 0.05,
        beta: float = 0.1,
        aggregate: Aggregate = "saliency",
        predict_with: PredictWith = "teacher",
        lr: float = 2e-4,
        weight_decay: float = 0.05,
        backbone_lr: float = 1.0,
        layer_decay: float = 1.0,
        schedule: Schedule = "cosine",
        warmup: float = 0.1,
        compile: bool | str = False,
    ) -> None:
        super().__init__()
        for name, choice, choices in (
            ("saliency", saliency, Saliency),
            ("aggregate", aggregate, Aggregate),
            ("predict_with", predict_with, PredictWith),
            ("schedule", schedule, Schedule),
        ):
            check_choice(f"model.{name}", choice, choices)
        for name, value in {"mutual_ramp": mutual_ramp, "warmup": warmup}.items():
            check_range(f"model.{name}", value, 0, 1)
        check_range("model.teacher_horizon", teacher_horizon, 0, 1, open_low=True)
        for name, value in {"beta": beta, "lr": lr, "backbone_lr": backbone_lr, "layer_decay": layer_decay}.items():
            check_range(f"model.{name}", value, 0, open_low=True)
        for name, value in {
            "lambda_image": lambda_image,
            "lambda_manifold": lambda_manifold,
            "lambda_mutual": lambda_mutual,
            "weight_decay": weight_decay,
        }.items():
            check_range(f"model.{name}", value, 0)
        self.save_hyperparameters(ignore=["initial_weights", "compile"])
        self._compile = compile
        self.pair = LMLPair(
            LMLNetwork(
                backbone,
                # Do not download weights that are replaced below.
                pretrained=pretrained if initial_weights is None else False,
                saliency=saliency,
                decoder_width=decoder_width,
                decoder_heads=decoder_heads,
                panel_size=panel_size,
                embedding_dim=embedding_dim,
                stages=stages,
                drop_path=drop_path,
                img_size=img_size,
                freeze_backbone=freeze_backbone,
                train_batch_norm=train_batch_norm,
            )
        )
        if lambda_manifold == 0:
            self.pair.student.projector.requires_grad_(False)  # DDP waits for the gradient of every trainable parameter
        self.manifold_loss = LocalManifoldLoss(
            temperature=temperature,
            w_intra=w_intra,
            w_inter=w_inter,
            positives=positives,
            inter_weighting=inter_weighting,
            gather_distributed=True,
        )
        self.val_metrics = QualityMetrics()
        self.test_metrics = QualityMetrics()
        self._evaluation_scale = self.training_scale
        if initial_weights is not None:
            self._start_from(initial_weights)

    def forward(self, crops: Tensor) -> CropScores:
        """Score (B, K, 3, S, S) crops, uint8 or in 0..1, on 0..1 with the network selected by ``predict_with``."""
        network = self.pair.teacher if self.hparams["predict_with"] == "teacher" else self.pair.student
        scores: CropScores = network(crops)
        return scores

    def setup(self, stage: str) -> None:
        """Take the score scale from the data when training starts; compile the encoders if requested.

        Raises:
            ConfigError: The trainer's precision is not supported.
        """
        check_precision(self.trainer.precision)
        strategy: Any = self.trainer.strategy
        if type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = WholeCheckpointIO()
        strategy._layer_sync = None  # trainer.sync_batchnorm: would drop the activations that timm keeps in such layers
        if stage == "fit":
            torch.manual_seed(torch.initial_seed())  # as DDP does, for the same stochastic depth on one process
        if self._compile:
            # In place, to keep the state-dict keys; in setup, as compiled code cannot be sent to other processes.
            backend = "inductor" if self._compile is True else self._compile
            self.pair.student.backbone.compile(backend=backend)
            self.pair.teacher.backbone.compile(backend=backend)
        super().setup(stage)

    def on_fit_start(self) -> None:
        """Silence advice that does not apply, as the losses are already means over all processes."""
        warnings.filterwarnings("ignore", r"It is recommended to use `self.log\('train/", PossibleUserWarning)

    def training_step(self, batch: CropBatch, batch_idx: int) -> Tensor:
        """Compute the total loss of a batch; the terms are logged unweighted."""
        hp = self.hparams
        if hp["lambda_manifold"] == 0 and hp["lambda_mutual"] == 0:
            student = teacher = self.pair.student(batch["crops"])
        else:
            student, teacher = self.pair(batch["crops"])
        mos = batch["mos"]
        quality = F.smooth_l1_loss(student.quality, mos[:, None].expand_as(student.quality), beta=hp["beta"])
        terms = {"quality": quality}
        loss = quality
        if hp["lambda_image"] > 0:
            score, _ = image_score(student, "saliency")
            terms["image"] = F.smooth_l1_loss(score, mos, beta=hp["beta"])
            loss = loss + hp["lambda_image"] * terms["image"]
        if hp["lambda_manifold"] > 0:
            terms["manifold"] = self.manifold_loss(
                student.embedding, teacher.embedding, teacher.saliency, mos, batch["image_id"]
            )
            loss = loss + hp["lambda_manifold"] * terms["manifold"]
        if hp["lambda_mutual"] > 0:
            terms["mutual_where"], terms["mutual_what"] = mutual_loss(
                student.quality, teacher.quality, student.saliency, teacher.saliency, beta=hp["beta"]
            )
            ramp = min(1.0, self._progress() / hp["mutual_ramp"]) if hp["mutual_ramp"] > 0 else 1.0
            loss = loss + ramp * hp["lambda_mutual"] * (terms["mutual_where"] + terms["mutual_what"])
        losses = {f"train/{name}": value.detach() for name, value in {"loss": loss, **terms}.items()}
        # One all-reduce per step, of the sums over all images and their number. DDP averages the gradients of the
        # processes, so each loss is weighted by its share of the images, which gives the mean over all images.
        here = torch.stack([value * len(mos) for value in losses.values()] + [loss.new_tensor(len(mos))])
        *sums, images = sum_over_processes(here).unbind()
        means = {name: value / images for name, value in zip(losses, sums, strict=True)}
        self.log_dict(means, on_step=True, on_epoch=True, batch_size=len(mos))
        share: Tensor = len(mos) * world()[0] / images
        return loss * share

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimizer, then update the teacher, once per optimizer step under gradient accumulation.

        A step that 16-bit gradient scaling skips after an overflow counts in the schedules, but does not update the
        teacher.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 0.0
        super().optimizer_step(*args, **kwargs)
        if scaler is not None and scaler.get_scale() < scale:
            return
        hp = self.hparams
        self.pair.update_teacher(teacher_momentum(self.trainer.global_step + 1, hp["teacher_horizon"]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW over parameter groups, and the schedule, advanced every step."""
        hp = self.hparams
        groups = parameter_groups(
            self.pair.student,
            lr=hp["lr"],
            weight_decay=hp["weight_decay"],
            backbone_lr=hp["backbone_lr"],
            layer_decay=hp["layer_decay"],
        )
        optimizer = torch.optim.AdamW(groups)
        total, resumed = self._total_steps(), self._steps_resumed()
        scheduler = LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step + resumed, total, schedule=hp["schedule"], warmup=hp["warmup"]),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def validation_step(self, batch: CropBatch, batch_idx: int) -> Prediction:
        """Score a batch, update the metrics, and return the scores for callbacks."""
        return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: CropBatch, batch_idx: int) -> Prediction:
        """Score a batch, update the metrics, and return the scores for callbacks."""
        return self._evaluate(batch, self.test_metrics)

    def predict_step(self, batch: CropBatch, batch_idx: int) -> Prediction:
        """Score a batch on the scale of the training data."""
        return self._predict(batch, self.training_scale)

    def on_validation_start(self) -> None:
        """Select the scale of reported scores: that of the ratings they are compared with."""
        self._evaluation_scale = self.training_scale
        if self._data is not None:
            self._evaluation_scale = ratings_scale(self.training_scale, self._data.scale)
            if warning := scale_warning(self.training_scale, self._data.scale):
                rank_zero_warn(warning)

    def on_test_start(self) -> None:
        """Select the scale as in validation; warn if images are resized or cropped differently than in training."""
        self.on_validation_start()
        self.on_predict_start()

    def on_predict_start(self) -> None:
        """Warn if images are resized or cropped differently than in training."""
        for name in ("crop_size", "short_side"):
            trained, given = self.provenance.get(name), getattr(self._data, name, None)
            if self._data is not None and self.provenance and trained != given:
                rank_zero_warn(
                    f"this model was trained with data.{name}={trained} and now scores with {given}, which changes "
                    f"its scores; give --data.{name}={'null' if trained is None else trained}"
                )

    def on_validation_epoch_end(self) -> None:
        """Log the metrics over the whole validation set."""
        self._log_metrics("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the metrics over the whole test set."""
        self._log_metrics("test", self.test_metrics)

    def _evaluate(self, batch: CropBatch, metrics: QualityMetrics) -> Prediction:
        prediction = self._predict(batch, self._evaluation_scale)
        # Ratings are compared in native units of the evaluation scale, not on 0..1: see ratings_scale.
        ratings = (self.training_scale if self._data is None else self._data.scale).to_native(batch["mos"])
        metrics.update(prediction["score"], ratings, batch["image_id"])
        return prediction

    def _predict(self, batch: CropBatch, scale: ScoreScale) -> Prediction:
        scores = self(batch["crops"])
        score, spread = image_score(scores, self.hparams["aggregate"])
        return Prediction(
            scale=dataclasses.asdict(scale),
            score=scale.to_native(score),
            spread=spread * scale.native_per_unit,
            crop_scores=scale.to_native(scores.quality),
            saliency=scores.saliency,
            embedding=scores.embedding[torch.arange(len(score)), scores.saliency.argmax(dim=1)],
            positions=batch["positions"],
            image_id=batch["image_id"],
        )

    def _log_metrics(self, stage: str, metrics: QualityMetrics) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in metrics.compute().items()}, sync_dist=True)
        metrics.reset()

    def _start_from(self, path: str) -> None:
        """Load only the networks of another run's checkpoint, strictly."""
        state = {k.removeprefix("pair."): v for k, v in read_state(path).items() if k.startswith("pair.")}
        if not state:
            raise WeightsError(f"{path}: not a checkpoint of LML-IQA; for encoder weights use model.pretrained")
        try:
            self.pair.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(f"{path}: {other_network(error)}") from error
