"""What a trial evaluates after an epoch and at its end, and what it keeps of each image."""

import pyarrow as pa
import torch
from torch import Tensor, nn

from trainables import metric_names as names
from trainables.augment import one_view, unit_interval
from trainables.config import SimCLRConfig
from trainables.distributed import gather_rows, rank, to_device, world_size
from trainables.draws import ViewDraws, draw_view
from trainables.evaluation import EVALUATION_BATCH, Share, classification_metrics, encode, no_features
from trainables.frozen import LogisticRegression, knn_top1
from trainables.randomness import Stream
from trainables.representation import label_free_metrics
from trainables.trial_data import Rows, Split, TrialData
from trainables.trial_files import TrialFiles


class Evaluator:
    """Evaluates an encoder with the probe that learns alongside, kNN, a logistic regression, and without labels.

    Without `projector` and `probe` (nothing was trained) what needs them is left out.
    """

    def __init__(
        self,
        config: SimCLRConfig,
        data: TrialData,
        encoder: nn.Module,
        *,
        projector: nn.Module | None,
        probe: nn.Module | None,
        files: TrialFiles,
        device: torch.device,
    ) -> None:
        self._config, self._data, self._files, self._device = config, data, files, device
        self._encoder, self._projector, self._probe = encoder, projector, probe

    def selection(self, epoch: int) -> dict[str, float]:
        """Return the metrics of the split that settings are selected on, with kNN every `knn_every` epochs."""
        prefix = self._data.selection
        share = self._encode(self._data.evaluated[prefix])
        metrics = self._probe_metrics(prefix, share) | self._label_free()
        if self._config.knn_every and epoch % self._config.knn_every == 0:
            metrics[f"{prefix}/{names.KNN_TOP1}"] = self._knn(self._encode(self._data.train), share)
        return metrics

    def everything(self) -> dict[str, float]:
        """Return the metrics of every held-out split by every method, and keep what each image got."""
        train = self._encode(self._data.train)
        regression = LogisticRegression(
            train, classes=len(self._data.classes), regularisation=self._config.linear_regularisation
        )
        metrics = self._label_free()
        for prefix, split in self._data.evaluated.items():
            share = self._encode(split)
            outputs = {"linear_logits": regression.logits(share.features)}
            if self._probe is not None:
                outputs["logits"] = self._probe_logits(share)
                metrics |= self._probe_metrics(prefix, share)
            metrics[f"{prefix}/{names.KNN_TOP1}"] = self._knn(train, share)
            for name, value in classification_metrics(outputs["linear_logits"], share, self._data.positive).items():
                metrics[f"{prefix}/{names.LINEAR}{name}"] = value
            self._write_outputs(prefix, split, outputs)
        return metrics

    def _encode(self, split: Split) -> Share:
        return encode(self._encoder, self._data, split, image_size=self._config.image_size, device=self._device)

    @torch.no_grad()
    def _probe_logits(self, share: Share) -> Tensor:
        assert self._probe is not None
        logits: Tensor = self._probe(share.features)
        return logits

    def _probe_metrics(self, prefix: str, share: Share) -> dict[str, float]:
        metrics = classification_metrics(self._probe_logits(share), share, self._data.positive)
        return {f"{prefix}/{name}": value for name, value in metrics.items()}

    @torch.no_grad()
    def _label_free(self) -> dict[str, float]:
        """Return rank, alignment and uniformity of two views of each image of the sample, the same at every epoch."""
        if self._projector is None:
            return {}
        sample, config = self._data.sample, self._config
        height, width = self._data.image_shape
        mine = slice(rank(), None, world_size())
        features = []
        self._encoder.eval()
        for stream in (Stream.HELD_OUT_VIEW_A, Stream.HELD_OUT_VIEW_B):
            draws = draw_view(config, stream, 0, len(sample), height=height, width=width).slice(mine)
            features.append(self._encode_views(sample.rows[mine], draws))
        self._projector.eval()
        embeddings = self._projector(torch.cat(features)).chunk(2)
        everything = [gather_rows(rows, len(sample)) for rows in (features[0], *embeddings)]
        metrics = label_free_metrics(everything[0], (everything[1], everything[2]))
        return {f"{self._data.selection}/{name}": value for name, value in metrics.items()}

    def _encode_views(self, rows: Rows, draws: ViewDraws) -> Tensor:
        pieces = []
        for start in range(0, len(rows), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            images = unit_interval(to_device(self._data.pixels(rows[part]), self._device))
            pieces.append(self._encoder(one_view(images, draws.slice(part), image_size=self._config.image_size)))
        size = self._config.image_size
        return torch.cat(pieces) if pieces else no_features(self._encoder, self._data, size, self._device)

    def _knn(self, train: Share, held_out: Share) -> float:
        return knn_top1(
            train,
            held_out,
            classes=len(self._data.classes),
            neighbours=self._config.knn_neighbours,
            temperature=self._config.knn_temperature,
        )

    def _write_outputs(self, prefix: str, split: Split, outputs: dict[str, Tensor]) -> None:
        gathered = {name: gather_rows(values, len(split)).cpu() for name, values in outputs.items()}
        if rank() > 0:
            return
        table = {
            "row": pa.array(split.rows),
            "name": pa.array(self._data.store.names(split.rows)),
            "label": pa.array(split.targets.numpy()),
        }
        for name, values in gathered.items():
            table[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.flatten().numpy()), values.shape[1])
        self._files.write_outputs(prefix, pa.table(table))
