"""A trained network with everything that a score depends on: preprocessing, scale and calibration."""

from __future__ import annotations

import hashlib
import inspect
import io
import math
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from typing_extensions import Self

from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import ConfigError
from lml_iqa.images import read_image, shrink
from lml_iqa.images.read import to_array
from lml_iqa.inference.lanczos import resize
from lml_iqa.models import Aggregate, LMLNetwork, image_score
from lml_iqa.models.pixels import to_pixels
from lml_iqa.transforms.crops import cut_crops, grid_positions, pad_to
from lml_iqa.utils.checkpoint_io import CheckpointError, read_checkpoint

ImageSource: TypeAlias = "str | Path | Image.Image | NDArray[np.uint8] | Tensor"
"""Path of an image file, PIL image, (H, W, 3) or (H, W) uint8 array, or (3, H, W) tensor, uint8 or float in 0..1."""


class Score(NamedTuple):
    """Score of an image.

    Attributes:
        score: Score in native units of the model's scale.
        low: Lower end of the 90 % interval of the MOS, in native units; NaN if the model is not calibrated.
        high: Upper end of the 90 % interval.
        spread: Standard deviation of the crop scores, in native units.
    """

    score: float
    low: float
    high: float
    spread: float


class Crops(NamedTuple):
    """Crops of an image.

    Attributes:
        crops: (K, 3, S, S), uint8 or floating point in 0..1.
        positions: (K, 2) top-left corners (y, x) in the resized image.
    """

    crops: Tensor
    positions: NDArray[np.int64]


class QualityModel(nn.Module, PyTorchModelHubMixin, library_name="lml-iqa", license="mit"):
    """No-reference quality of images, on the scale of the data that the model was trained on.

    Each image is scored by itself, so its score does not depend on other images, their order or their number.

    Example:
        >>> import lml_iqa
        >>> model = lml_iqa.load("best.ckpt")  # doctest: +SKIP
        >>> model.score(["photo.jpg"])  # doctest: +SKIP

    Args:
        network: Options of :class:`~lml_iqa.models.LMLNetwork`.
        scale: Fields of :class:`~lml_iqa.datasets.scale.ScoreScale`.
        aggregate: Aggregation of crop scores, see :func:`~lml_iqa.models.image_score`.
        crops: Number of crops K per image, on a grid.
        crop_size: Side of the crops in pixels.
        short_side: Short side in pixels to which larger images are resized; None for no resizing.
        interval: Half width of the 90 % interval of the MOS in native units, calibrated on held-out ratings; None if
            the model is not calibrated.
        trained_on: Data set, split and label file that the model was trained on.
    """

    def __init__(
        self,
        network: dict[str, Any],
        scale: dict[str, Any],
        *,
        aggregate: Aggregate = "saliency",
        crops: int = 9,
        crop_size: int = 224,
        short_side: int | None = None,
        interval: float | None = None,
        trained_on: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = LMLNetwork(**network, pretrained=False)
        self.scale = ScoreScale(**scale)
        self.aggregate: Aggregate = aggregate
        self.crops = crops
        self.crop_size = crop_size
        self.short_side = short_side
        self.interval = interval
        self.trained_on = trained_on or {}
        self.eval()

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """Load the network of a run's checkpoint that its scores come from; code in the file is not executed.

        Args:
            path: Checkpoint of an :class:`~lml_iqa.tasks.LMLTask`.

        Raises:
            CheckpointError: The file is missing, damaged, or not a checkpoint of this package.
        """
        content = read_checkpoint(path)
        options, saved = content["hyper_parameters"], content["lml_iqa"]
        data = saved["provenance"]
        known = inspect.signature(LMLNetwork).parameters.keys() - {"pretrained"}
        model = cls(
            {name: value for name, value in options.items() if name in known},
            saved["scale"],
            aggregate=options["aggregate"],
            crops=data.get("eval_crops", 9),
            crop_size=data.get("crop_size", 224),
            short_side=data.get("short_side"),
            trained_on={name: data[name] for name in ("dataset", "source", "split", "data_sha256") if name in data},
        )
        prefix = f"pair.{options['predict_with']}."
        weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
        try:
            model.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"{path}: the weights do not fit its options; give another checkpoint") from error
        return model

    def forward(self, images: Tensor) -> Tensor:
        """Score images of one size; differentiable with respect to floating-point pixels.

        Args:
            images: (3, H, W) or (B, 3, H, W), uint8 in 0..255 or floating point in 0..1.

        Returns:
            () or (B,) scores in native units.

        Raises:
            ValueError: Invalid shape, type or range of the pixels.
        """
        if images.ndim not in {3, 4} or images.shape[-3] != 3:
            raise ValueError(f"images must be (3, H, W) or (B, 3, H, W), not {tuple(images.shape)}")
        if images.ndim == 4:
            return torch.stack([self(image) for image in images])
        crops = self._crops(images).crops
        scores, _ = image_score(self.network(crops[None].to(self.device)), self.aggregate)
        return self.scale.to_native(scores[0])

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.network.parameters()).device

    @property
    def id(self) -> str:
        """ID of the model: changes if its weights or options change."""
        options = (self.scale, self.aggregate, self.crops, self.crop_size, self.short_side, self.interval)
        digest = hashlib.sha256(repr(options).encode())
        for name, weight in self.network.state_dict().items():
            digest.update(name.encode() + weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def score(self, images: Iterable[ImageSource]) -> list[Score]:
        """Score images of any size and kind.

        Args:
            images: See :data:`ImageSource`.

        Raises:
            ImageReadError: An image file cannot be read.
            ValueError: An image is a URL or has an invalid type.
        """
        return [self.score_crops(self.prepare(image)) for image in images]

    def prepare(self, image: ImageSource) -> Crops:
        """Decode and resize an image, and cut its crops.

        Raises:
            ImageReadError: The image file cannot be read.
            ValueError: The image is a URL or has an invalid type.
        """
        return self._crops(to_image(image))

    @torch.inference_mode()
    def score_crops(self, crops: Crops) -> Score:
        """Score the crops of an image."""
        scores = self.network(crops.crops[None].to(self.device))
        unit, spread = image_score(scores, self.aggregate)
        value, width = float(self.scale.to_native(unit)[0]), math.nan if self.interval is None else self.interval
        ends = (value - width, value + width)
        low, high = (end if math.isnan(end) else min(max(end, self.scale.low), self.scale.high) for end in ends)
        return Score(value, low, high, float(spread[0]) * self.scale.native_per_unit)

    def _crops(self, image: Tensor) -> Crops:
        """Resize as in training, and cut the evaluation grid."""
        if image.dtype == torch.uint8:
            pixels = image.permute(1, 2, 0).cpu().numpy()
            pixels = pad_to(pixels if self.short_side is None else shrink(pixels, self.short_side), self.crop_size)
            positions = grid_positions(pixels.shape[0], pixels.shape[1], self.crop_size, self.crops)
            return Crops(cut_crops(pixels, positions, self.crop_size), positions)
        to_pixels(image[None, None])  # refuses other types and ranges
        floats = image if self.short_side is None else resize(image, self.short_side)
        rows, columns = (
            np.pad(np.arange(side), (0, max(0, self.crop_size - side)), mode="reflect") for side in floats.shape[1:]
        )
        floats = floats[:, rows][:, :, columns]  # pad_to, with gradient
        positions = grid_positions(floats.shape[1], floats.shape[2], self.crop_size, self.crops)
        side = self.crop_size
        return Crops(torch.stack([floats[:, y : y + side, x : x + side] for y, x in positions.tolist()]), positions)


def to_image(image: ImageSource) -> Tensor:
    """Image of any kind as a (3, H, W) tensor, uint8 unless it is a floating-point tensor.

    Raises:
        ImageReadError: An image file cannot be read.
        ValueError: The image is a URL or has an invalid type or shape.
    """
    if isinstance(image, (str, Path)):
        if "://" in str(image):
            raise ValueError(f"{image}: URLs are not opened; download the image and give its path")
        return torch.from_numpy(read_image(image).copy()).permute(2, 0, 1)
    if isinstance(image, Image.Image):
        try:
            return torch.from_numpy(to_array(image).copy()).permute(2, 0, 1)
        except ValueError as error:  # among others, a loaded file whose header cannot be read again
            raise ValueError(f"cannot decode this PIL image ({error}); give the path of its file") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in {2, 3} or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"arrays must be (H, W, 3) or (H, W) uint8, not {image.shape} {image.dtype}")
        pixels = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"tensors must be (3, H, W), not {tuple(image.shape)}")
        return image
    raise ValueError(f"cannot score a {type(image).__name__}; give a path, a PIL image, an array or a tensor")


def load(source: str | Path) -> QualityModel:
    """Load a model for scoring.

    Args:
        source: Checkpoint of a run (``.ckpt``), folder that :meth:`QualityModel.save_pretrained` wrote, or ID of a
            model on the Hugging Face Hub.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ConfigError: There is no such model.
    """
    place = Path(source).expanduser()
    if place.suffix == ".ckpt":
        return QualityModel.from_checkpoint(place)
    if not place.is_dir() and len(str(source).split("/")) != 2:
        raise ConfigError(f"{source}: no such model; give a .ckpt file, a folder of save_pretrained, or a hub ID")
    with redirect_stdout(io.StringIO()):  # it announces local files on standard output, where the scores go
        model: QualityModel = QualityModel.from_pretrained(str(place if place.is_dir() else source))
    return model
