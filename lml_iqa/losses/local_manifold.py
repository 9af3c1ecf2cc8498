"""Local-manifold loss: contrasts the salient crop with the other crops of its image and the crops of other images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lml_iqa.utils.distributed import gather_rows, row_counts
from lml_iqa.utils.options import check_choice, check_range

Positives = Literal["salient", "cluster"]
"""``salient``: the teacher's embedding of the salient crop is the only positive (the paper, v2); ``cluster``: all crops
at least as salient as the average crop are positives, the others intra-class negatives (our reading of v1)."""

InterWeighting = Literal["none", "mos_gap"]
"""``none``: equal weights for the crops of all other images; ``mos_gap``: weights proportional to the difference of
their MOS from the anchor's."""

_ROUNDING = 1e-5  # relative tolerance, above the rounding error of float32 sums over an image's crops
_NOTHING = -1e9  # log of a weight of zero; finite, so that a row without negatives has a gradient of zero


class LocalManifoldLoss(nn.Module):
    r"""InfoNCE over the crops of a batch.

    For image i with salient crop s, anchor :math:`a = z_{i,s}`, positives P and keys :math:`\hat z`:

    .. math::
        L_i = \frac{1}{|P|} \sum_{p \in P} -\log \frac{e^{a \cdot \hat z_p / t}}{e^{a \cdot \hat z_p / t}
            + w_{intra} \sum_{k \notin P} e^{a \cdot \hat z_{i,k} / t}
            + w_{inter} \sum_{j \ne i} \sum_k g_{ij} e^{a \cdot \hat z_{j,k} / t}}

    The roles of the crops are from the paper. The default values are ours (none are published).

    Args:
        temperature: t > 0.
        w_intra: Weight of the intra-class negatives, >= 0; 0 disables them.
        w_inter: Weight of the inter-class negatives, >= 0; 0 disables them.
        positives: See :data:`Positives`.
        inter_weighting: See :data:`InterWeighting`. With ``mos_gap``, :math:`g_{ij} = |m_i - m_j|` divided by its mean
            for the anchor, so that images of equal quality are not pushed apart and the sum keeps its scale. Ours.
        gather_distributed: Whether to use the crops of all processes as negatives. All processes must then call the
            loss equally often.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.2,
        w_intra: float = 1.0,
        w_inter: float = 1.0,
        positives: Positives = "salient",
        inter_weighting: InterWeighting = "none",
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_range("temperature", temperature, 0, open_low=True)
        check_range("w_intra", w_intra, 0)
        check_range("w_inter", w_inter, 0)
        check_choice("positives", positives, Positives)
        check_choice("inter_weighting", inter_weighting, InterWeighting)
        self.temperature = temperature
        self.w_intra = w_intra
        self.w_inter = w_inter
        self.positives: Positives = positives
        self.inter_weighting: InterWeighting = inter_weighting
        self.gather_distributed = gather_distributed

    def forward(self, anchors: Tensor, keys: Tensor, saliency: Tensor, mos: Tensor, image_id: Tensor) -> Tensor:
        """Contrast each image's salient crop with the crops of all images.

        With ``gather_distributed``, the numbers of images and crops may differ between processes.

        Args:
            anchors: (B, K, Z) unit vectors of the student; only the salient one of each image is used.
            keys: (B, K, Z) unit vectors of the teacher that the anchors are compared with; gradients flow through them,
                across processes too, if they require one.
            saliency: (B, K) saliency of the teacher.
            mos: (B,) scores on 0..1.
            image_id: (B,) identity of the images; copies of an image are not negatives of each other.

        Returns:
            () float32 mean over the B images of this process.

        Raises:
            ValueError: The shapes do not match.
        """
        shape = tuple(keys.shape)
        given = [tuple(t.shape) for t in (anchors, saliency, mos, image_id)]
        if len(shape) != 3 or given != [shape, shape[:2], shape[:1], shape[:1]]:
            raise ValueError(
                "anchors and keys must be (B, K, Z), saliency (B, K), mos and image_id (B,), not "
                f"{given[0]} and {shape}, {given[1]}, {given[2]} and {given[3]}"
            )
        # Half precision is too coarse for similarities divided by a small temperature.
        with torch.autocast(keys.device.type, enabled=False):
            return self._forward(anchors.float(), keys.float(), saliency.detach(), mos.float(), image_id)

    def _forward(self, anchors: Tensor, keys: Tensor, saliency: Tensor, mos: Tensor, image_id: Tensor) -> Tensor:
        images, crops, _ = keys.shape
        salient = saliency.argmax(dim=1)
        anchor = anchors[torch.arange(images, device=anchors.device), salient]
        positive = F.one_hot(salient, crops).bool()
        if self.positives == "cluster":
            # Rounding must not exclude crops that are as salient as the average one.
            positive = positive | (saliency >= (1 - _ROUNDING) * saliency.mean(dim=1, keepdim=True))

        own = torch.einsum("bz,bkz->bk", anchor, keys) / self.temperature
        intra = (own + _log(self.w_intra, own)).masked_fill(positive, _NOTHING)

        columns = [keys.flatten(0, 1), mos.repeat_interleave(crops), image_id.repeat_interleave(crops)]
        if self.gather_distributed:
            counts = row_counts(columns[0])
            columns = [gather_rows(rows, counts) for rows in columns]
        all_keys, all_mos, all_ids = columns
        inter = anchor @ all_keys.T / self.temperature
        inter = inter + self._log_inter_weight(mos, all_mos, image_id[:, None] != all_ids[None])

        negatives = torch.cat([intra, inter], dim=1).logsumexp(dim=1, keepdim=True)
        # -log(e^s / (e^s + e^n)) = softplus(n - s)
        per_positive = F.softplus(negatives - own) * positive
        return (per_positive.sum(dim=1) / positive.sum(dim=1)).mean()

    def _log_inter_weight(self, mos: Tensor, all_mos: Tensor, other: Tensor) -> Tensor:
        """(B, J) log of the weight of crop j as a negative of image i."""
        weight = other.float()
        if self.inter_weighting == "mos_gap":
            weight = weight * (mos[:, None] - all_mos[None]).abs()
            mean = weight.sum(dim=1, keepdim=True) / other.sum(dim=1, keepdim=True).clamp(min=1)
            weight = weight / mean.clamp(min=torch.finfo(weight.dtype).tiny)
        return (self.w_inter * weight).log().clamp(min=_NOTHING)


def _log(weight: float, like: Tensor) -> Tensor:
    return torch.tensor(weight, device=like.device, dtype=like.dtype).log().clamp(min=_NOTHING)
