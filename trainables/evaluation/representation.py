"""Label-free metrics of a representation: effective rank, alignment, uniformity, LiDAR, alpha-ReQ, and collapse."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.augment.parameters import ViewDraws, draw_view
from trainables.augment.views import one_view
from trainables.config import TrialConfig
from trainables.data.data_split import DataSplit, RowNumbers, limited
from trainables.data.trial_data import TrialData
from trainables.distributed import gather_rows, rank, to_device, world_size
from trainables.evaluation.eigenspectrum import alpha_req, lidar
from trainables.evaluation.features import no_features
from trainables.heartbeat import beat
from trainables.losses import NORM_FLOOR
from trainables.memory.constants import EVALUATION_BATCH, LIDAR_IMAGES, LIDAR_VIEWS
from trainables.metrics import names
from trainables.randomness.counter_based import RandomStream

UNIFORMITY_SHARPNESS = 2.0
COLLAPSED_RANK = 3.0
COLLAPSED_SPREAD = 1e-5


def effective_rank(rows: Tensor) -> float:
    """Return RankMe of (N, D) rows: exp of the entropy of the singular values' shares, 1 to min(N, D).

    Garrido et al. 2023, equation 1. Rows of zeros have rank 1; NaN or infinity gives NaN. Computed in float64 from the
    eigenvalues of the smaller Gram matrix.
    """
    wide = rows.double()
    if not torch.isfinite(wide).all():
        return math.nan
    gram = wide.T @ wide if wide.shape[0] > wide.shape[1] else wide @ wide.T
    singular = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt()
    shares = singular / singular.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())


def alignment(a: Tensor, b: Tensor) -> float:
    """Return alignment: the mean squared distance of partners (N, D) on the unit sphere, 0 to 4 (Wang & Isola 2020)."""
    return float((_on_sphere(a) - _on_sphere(b)).square().sum(1).mean())


def uniformity(rows: Tensor) -> float:
    """Return uniformity: log of the mean of exp(-2 d^2) over all pairs of rows (N, D) on the unit sphere.

    It is 0 if all rows are equal, and lower the more evenly they are spread (Wang & Isola 2020). NaN for a single row.
    """
    if len(rows) < 2:
        return math.nan
    distances = functional.pdist(_on_sphere(rows)).square()
    return float((-UNIFORMITY_SHARPNESS * distances).logsumexp(0)) - math.log(len(distances))


def has_collapsed(embeddings: Tensor) -> bool:
    """Return whether (N, D) embeddings have collapsed: their effective rank after centring is below 3.

    The mean is subtracted, since early in training batch norm's running statistics lag behind and add the same vector
    to all embeddings. Successful trials had a centred rank of at least 7 from the first epoch on; too large learning
    rates left 1 to 3 (docs/experiments.md). For D < 6 the limit is D / 2. For N < 7 images it is (N - 1) / 2, since N
    images differ in at most N - 1 directions; a single image never counts as collapsed.
    """
    if len(embeddings) == 1:
        return not bool(torch.isfinite(embeddings).all())
    centred = embeddings.double() - embeddings.double().mean(0)
    spread = float(centred.norm() / embeddings.double().norm().clamp_min(NORM_FLOOR))
    limit = min(COLLAPSED_RANK, embeddings.shape[1] / 2, (len(embeddings) - 1) / 2)
    return not (spread > COLLAPSED_SPREAD and effective_rank(centred) > limit)


def feature_metrics(features: Tensor) -> dict[str, float]:
    """Return the metrics of features (N, F) alone: effective rank, alpha-ReQ and its distance from 1."""
    alpha = alpha_req(features)
    return {
        names.FEATURE_RANK: effective_rank(features),
        names.ALPHA_REQ: alpha,
        names.ALPHA_REQ_GAP: abs(alpha - 1.0),
    }


def label_free_metrics(features: Tensor, embeddings: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Return the label-free metrics of N images, from features (N, F) of one view and embeddings (N, D) of two."""
    return {
        **feature_metrics(features),
        names.EMBEDDING_RANK: effective_rank(embeddings[0]),
        names.ALIGNMENT: alignment(*embeddings),
        names.UNIFORMITY: uniformity(embeddings[0]),
        names.COLLAPSED: float(has_collapsed(embeddings[0])),
    }


def _on_sphere(rows: Tensor) -> Tensor:
    return functional.normalize(rows.double(), dim=1, eps=NORM_FLOOR)


class LabelFreeEvaluation:
    """Label-free metrics over all ranks' images of the sample; every epoch uses the same views."""

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        encoder: nn.Module,
        projector: nn.Module | None,
        device: torch.device,
    ) -> None:
        self._config, self._split, self._sample, self._device = config, data.selection, data.sample, device
        self._encoder, self._projector = encoder, projector

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Return rank, alignment, uniformity, alpha-ReQ and collapse; without a projector those of features alone."""
        self._encoder.eval()
        first = self._features(self._sample, RandomStream.HELD_OUT_VIEW_A, 0)
        if self._projector is None:
            return self._named(feature_metrics(gather_rows(first, len(self._sample))))
        self._projector.eval()
        both = torch.cat([first, self._features(self._sample, RandomStream.HELD_OUT_VIEW_B, 0)])
        embeddings = self._projector(both).chunk(2)
        everything = [gather_rows(rows, len(self._sample)) for rows in (first, *embeddings)]
        return self._named(label_free_metrics(everything[0], (everything[1], everything[2])))

    @torch.no_grad()
    def lidar(self) -> dict[str, float]:
        """Return LiDAR of LIDAR_VIEWS views of at most LIDAR_IMAGES images; nothing without a projector."""
        if self._projector is None:
            return {}
        self._encoder.eval()
        self._projector.eval()
        sample = limited(self._sample, LIDAR_IMAGES)
        views = (self._features(sample, RandomStream.HELD_OUT_VIEW_A, index) for index in range(LIDAR_VIEWS))
        embeddings = torch.stack([gather_rows(self._projector(own), len(sample)) for own in views], dim=1)
        return self._named({names.LIDAR: lidar(embeddings)})

    def _named(self, metrics: dict[str, float]) -> dict[str, float]:
        return names.qualified(self._split, "", metrics)

    def _features(self, sample: DataSplit, stream: RandomStream, index: int) -> Tensor:
        """Return the features (n, F) of one view of each of this rank's images."""
        height, width = sample.store.info.image_size
        mine = slice(rank(), None, world_size())
        numbers = np.arange(len(sample))[mine]
        info = sample.store.info
        draws = draw_view(
            self._config,
            stream,
            index,
            len(sample),
            height=height,
            width=width,
            channels=info.channels,
            colours=info.colours,
        ).slice(mine)
        return _encode_views(self._encoder, sample, numbers, draws, self._config.image_size, self._device)


def _encode_views(
    encoder: nn.Module, sample: DataSplit, numbers: RowNumbers, draws: ViewDraws, image_size: int, device: torch.device
) -> Tensor:
    """Return the features (n, F) of one view of each of this rank's images."""
    pieces = []
    for start in range(0, len(numbers), EVALUATION_BATCH):
        beat()
        part = slice(start, start + EVALUATION_BATCH)
        images = to_device(sample.pixels(numbers[part]), device)
        pieces.append(encoder(one_view(images, draws.slice(part), image_size=image_size)))
    return torch.cat(pieces) if pieces else no_features(encoder, sample, image_size, device)
