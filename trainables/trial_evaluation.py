"""What a trial evaluates after an epoch and at its end, and what it keeps of each image."""

import pyarrow as pa
import torch
from torch import Tensor, nn

from trainables import metric_names as names
from trainables.config import SimCLRConfig
from trainables.distributed import gather_rows, rank
from trainables.evaluation import Share, classification_metrics, encode
from trainables.frozen import LogisticRegression, knn_top1
from trainables.trial_data import Split, TrialData
from trainables.trial_files import TrialFiles


class Evaluator:
    """Evaluates an encoder with the probe that learns alongside (if any), kNN, and a logistic regression."""

    def __init__(
        self,
        config: SimCLRConfig,
        data: TrialData,
        encoder: nn.Module,
        probe: nn.Module | None,
        *,
        files: TrialFiles,
        device: torch.device,
    ) -> None:
        self._config, self._data, self._files, self._device = config, data, files, device
        self._encoder, self._probe = encoder, probe

    def selection(self, epoch: int) -> dict[str, float]:
        """Return the metrics of the split that settings are selected on, with kNN every `knn_every` epochs."""
        prefix = self._data.selection
        share = self._encode(self._data.evaluated[prefix])
        metrics = self._probe_metrics(prefix, share)
        if self._config.knn_every and epoch % self._config.knn_every == 0:
            metrics[f"{prefix}/{names.KNN_TOP1}"] = self._knn(self._encode(self._data.train), share)
        return metrics

    def everything(self) -> dict[str, float]:
        """Return the metrics of every held-out split by every method, and keep what each image got."""
        train = self._encode(self._data.train)
        regression = LogisticRegression(
            train, classes=len(self._data.classes), regularisation=self._config.linear_regularisation
        )
        metrics: dict[str, float] = {}
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
