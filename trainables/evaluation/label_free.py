"""Label-free evaluation of an encoder and its projector on two views of each image of a fixed sample."""

import numpy as np
import torch
from torch import Tensor, nn

from trainables import metric_names as names
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.augment.views import one_view
from trainables.config import SimCLRConfig
from trainables.data.trial_data import Rows, Split, TrialData
from trainables.distributed import gather_rows, rank, to_device, world_size
from trainables.evaluation.features import no_features
from trainables.evaluation.representation import label_free_metrics
from trainables.heartbeat import beat
from trainables.memory.constants import EVALUATION_BATCH
from trainables.randomness import Stream


@torch.no_grad()
def evaluate_without_labels(
    config: SimCLRConfig, data: TrialData, encoder: nn.Module, projector: nn.Module, device: torch.device
) -> dict[str, float]:
    """Return rank, alignment and uniformity over all ranks' images of the sample; its views are those of any epoch."""
    sample = data.sample
    height, width = sample.store.info.image_size
    mine = slice(rank(), None, world_size())
    numbers = np.arange(len(sample))[mine]
    features = []
    encoder.eval()
    for stream in (Stream.HELD_OUT_VIEW_A, Stream.HELD_OUT_VIEW_B):
        draws = draw_view(config, stream, 0, len(sample), height=height, width=width).slice(mine)
        features.append(_encode_views(encoder, sample, numbers, draws, config.image_size, device))
    projector.eval()
    embeddings = projector(torch.cat(features)).chunk(2)
    everything = [gather_rows(rows, len(sample)) for rows in (features[0], *embeddings)]
    return names.qualified(data.selection, "", label_free_metrics(everything[0], (everything[1], everything[2])))


def _encode_views(
    encoder: nn.Module, sample: Split, numbers: Rows, draws: ViewDraws, image_size: int, device: torch.device
) -> Tensor:
    """Return the features (n, F) of one view of each of this rank's images."""
    pieces = []
    for start in range(0, len(numbers), EVALUATION_BATCH):
        beat()
        part = slice(start, start + EVALUATION_BATCH)
        images = to_device(sample.pixels(numbers[part]), device)
        pieces.append(encoder(one_view(images, draws.slice(part), image_size=image_size)))
    return torch.cat(pieces) if pieces else no_features(encoder, sample, image_size, device)
