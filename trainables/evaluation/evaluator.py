"""What a trial evaluates after an epoch and at its end, and what it keeps of each image."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from trainables import metric_names as names
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.augment.views import one_view
from trainables.config import SimCLRConfig
from trainables.data.trial_data import Rows, Split, TrialData
from trainables.distributed import gather_rows, rank, to_device, world_size
from trainables.evaluation.calibration import best_scale, calibration
from trainables.evaluation.classification import classification_metrics, decision_metrics
from trainables.evaluation.features import RankShard, encode, gathered_logits, no_features
from trainables.evaluation.knn import knn_scores, nearest_centroids
from trainables.evaluation.logistic_regression import LogisticRegression, best_regression
from trainables.evaluation.probe import ProbeWeights
from trainables.evaluation.representation import label_free_metrics
from trainables.evaluation.thresholds import (
    Thresholds,
    binary_decisions,
    binary_thresholds,
    each_label,
    half_thresholds,
    label_decisions,
    label_metrics,
    label_thresholds,
    precision_metrics,
    rule_metrics,
)
from trainables.heartbeat import beat
from trainables.memory.constants import EVALUATION_BATCH
from trainables.randomness import Stream
from trainables.storage.trial_files import TrialFiles


class Chosen(NamedTuple):
    """Thresholds that one split chose for one method."""

    of_labels: Thresholds
    of_positives: Thresholds


class Evaluator:
    """Evaluates an encoder with the probe that learns alongside, without labels, and by its frozen features.

    The latter: kNN, nearest class mean, logistic regression.

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
        self.linear: dict[str, Tensor] = {}
        """The state of the logistic regression as a linear layer on features, once everything was evaluated."""

    def selection(self, epoch: int) -> dict[str, float]:
        """Return the metrics of the split that settings are selected on, with kNN every `knn_every` epochs."""
        prefix = self._data.selection
        shard = self._encode(self._data.evaluated[prefix])
        metrics = self._label_free()
        if self._probe is not None:
            metrics = self._metrics(prefix, "", self._probe_logits(shard), shard) | metrics
        if self._config.knn_every and epoch % self._config.knn_every == 0:
            metrics |= self._knn(prefix, self._encode(self._data.bank), shard)[0]
        return metrics

    def everything(self) -> dict[str, float]:
        """Return the metrics of every held-out split by every method, and keep what each image got."""
        bank = self._encode(self._data.bank)
        shards = {prefix: self._encode(split) for prefix, split in self._data.evaluated.items()}
        regression, metrics = self._regression(bank, shards.get("val"))
        self.linear = regression.state_dict()
        metrics |= self._label_free()
        thresholds: dict[str, Chosen] = {}
        scales: dict[str, float] = {}
        for prefix, shard in shards.items():
            outputs = {"linear_logits": regression.logits(shard.features)}
            if self._probe is not None:
                outputs["logits"] = self._probe_logits(shard)
            for name, logits in reversed(outputs.items()):
                method = names.LINEAR if name == "linear_logits" else ""
                metrics |= self._metrics(prefix, method, logits, shard)
                chosen = self._thresholds(prefix, logits, shard)
                thresholds.setdefault(method, chosen)  # those of the first split, validation
                metrics |= self._at_thresholds(prefix, method, logits, shard, thresholds[method])
                metrics |= self._calibration(prefix, method, logits, shard, scales)
            voted, outputs["knn"] = self._knn(prefix, bank, shard)
            metrics |= voted | self._centroids(prefix, bank, shard)
            self._write_outputs(prefix, self._data.evaluated[prefix], outputs)
        return metrics

    def _regression(self, bank: RankShard, validation: RankShard | None) -> tuple[LogisticRegression, dict[str, float]]:
        """Return the regression on the bank, its lambda chosen on validation where there are candidates."""
        weighted, classes = replace(bank, weights=self._fit_weights()), len(self._data.classes)
        candidates = self._config.linear_candidates
        if not candidates:
            fixed = self._config.linear_regularisation
            return LogisticRegression(weighted, classes=classes, regularisation=fixed), {}
        assert validation is not None  # TrialData has checked it
        regression, chosen = best_regression(weighted, validation, classes=classes, candidates=candidates)
        return regression, {names.LINEAR_REGULARISATION: chosen}

    def _encode(self, split: Split) -> RankShard:
        return encode(self._encoder, split, image_size=self._config.image_size, device=self._device)

    def _fit_weights(self) -> Tensor | None:
        """Return this rank's weights of the bank's images, None where all count alike."""
        data = self._data
        everyone = np.ones(len(data.bank), dtype=np.bool_)
        weights = ProbeWeights(self._config, data.bank.targets, everyone, len(data.classes)).of_fit()
        return None if weights is None else to_device(weights[rank() :: world_size()].contiguous(), self._device)

    @torch.no_grad()
    def _probe_logits(self, shard: RankShard) -> Tensor:
        assert self._probe is not None
        logits: Tensor = self._probe(shard.features)
        return logits

    def _metrics(self, prefix: str, method: str, logits: Tensor, shard: RankShard) -> dict[str, float]:
        if self._data.several_labels:
            metrics = label_metrics(logits, shard)
            if self._data.positive is not None:
                metrics |= rule_metrics(logits, shard, self._data.positive)
        else:
            metrics = classification_metrics(logits, shard, self._data.positive)
        return {f"{prefix}/{method}{name}": value for name, value in metrics.items()}

    def _thresholds(self, prefix: str, logits: Tensor, shard: RankShard) -> Chosen:
        """Return the thresholds that validation chooses; where there is none, those that need no choice."""
        of_labels: Thresholds = {}
        if self._data.several_labels:
            of_labels = label_thresholds(logits, shard) if prefix == "val" else half_thresholds(logits)
        if self._data.positive is None or prefix != "val":
            return Chosen(of_labels, {})
        return Chosen(of_labels, binary_thresholds(logits, shard, self._data.positive, self._config.wanted_specificity))

    def _at_thresholds(
        self, prefix: str, method: str, logits: Tensor, shard: RankShard, thresholds: Chosen
    ) -> dict[str, float]:
        metrics: dict[str, float] = {}
        if self._data.several_labels:
            metrics = label_decisions(logits, shard, thresholds.of_labels)
            if method == names.LINEAR:
                metrics |= each_label(logits, shard, thresholds.of_labels, self._data.classes)
        if self._data.positive is not None:
            metrics |= binary_decisions(logits, shard, self._data.positive, thresholds.of_positives)
        return {f"{prefix}/{method}{name}": value for name, value in metrics.items()}

    def _calibration(
        self, prefix: str, method: str, logits: Tensor, shard: RankShard, scales: dict[str, float]
    ) -> dict[str, float]:
        """Return how well probabilities are calibrated, after scaling too where validation chose `scales`' method's."""
        if self._data.several_labels:
            return {}
        everything, classes = gathered_logits(logits, shard)
        positive = None if self._data.positive is None else self._data.positive.numpy()
        found = calibration(everything, classes, positive)
        del found[names.LOSS]  # which is there already
        if prefix == "val" and len(classes):
            scales[method] = best_scale(everything, classes)
            found[names.SCALE] = scales[method]
        elif method in scales:
            scaled = calibration(everything / scales[method], classes, positive)
            found |= {name + names.SCALED: value for name, value in scaled.items()}
        return {f"{prefix}/{method}{name}": value for name, value in found.items()}

    @torch.no_grad()
    def _label_free(self) -> dict[str, float]:
        """Return rank, alignment and uniformity of two views of each image of the sample, the same at every epoch."""
        if self._projector is None:
            return {}
        sample, config = self._data.sample, self._config
        height, width = sample.store.info.image_size
        mine = slice(rank(), None, world_size())
        numbers = np.arange(len(sample))[mine]
        features = []
        self._encoder.eval()
        for stream in (Stream.HELD_OUT_VIEW_A, Stream.HELD_OUT_VIEW_B):
            draws = draw_view(config, stream, 0, len(sample), height=height, width=width).slice(mine)
            features.append(self._encode_views(sample, numbers, draws))
        self._projector.eval()
        embeddings = self._projector(torch.cat(features)).chunk(2)
        everything = [gather_rows(rows, len(sample)) for rows in (features[0], *embeddings)]
        metrics = label_free_metrics(everything[0], (everything[1], everything[2]))
        return {f"{self._data.selection}/{name}": value for name, value in metrics.items()}

    def _encode_views(self, sample: Split, numbers: Rows, draws: ViewDraws) -> Tensor:
        pieces = []
        for start in range(0, len(numbers), EVALUATION_BATCH):
            beat()
            part = slice(start, start + EVALUATION_BATCH)
            images = to_device(sample.pixels(numbers[part]), self._device)
            pieces.append(self._encoder(one_view(images, draws.slice(part), image_size=self._config.image_size)))
        size = self._config.image_size
        return torch.cat(pieces) if pieces else no_features(self._encoder, sample, size, self._device)

    def _knn(self, prefix: str, bank: RankShard, held_out: RankShard) -> tuple[dict[str, float], Tensor]:
        """Return the metrics of the neighbours' votes, and of this rank's images the class (n, 1) or scores (n, K)."""
        config, first = self._config, self._config.knn_neighbours
        voted = knn_scores(
            bank,
            held_out,
            classes=len(self._data.classes),
            neighbours=(first, *config.knn_also),
            temperature=config.knn_temperature,
        )
        metrics: dict[str, float] = {}
        for neighbours, scores in voted.items():
            method = names.KNN if neighbours == first else f"knn{neighbours}_"
            if self._data.several_labels:
                found = precision_metrics(scores, held_out)
            else:
                found = decision_metrics(scores.argmax(1), held_out, len(self._data.classes), self._data.positive)
            metrics |= {f"{prefix}/{method}{name}": value for name, value in found.items()}
        return metrics, voted[first] if self._data.several_labels else voted[first].argmax(1)[:, None]

    def _centroids(self, prefix: str, bank: RankShard, held_out: RankShard) -> dict[str, float]:
        if self._data.several_labels:
            return {}
        count = len(self._data.classes)
        nearest = nearest_centroids(bank, held_out, classes=count)
        found = decision_metrics(nearest, held_out, count, self._data.positive)
        return {f"{prefix}/{names.CENTROID}{name}": value for name, value in found.items()}

    def _write_outputs(self, prefix: str, split: Split, outputs: dict[str, Tensor]) -> None:
        gathered = {name: gather_rows(values, len(split)).cpu() for name, values in outputs.items()}
        if rank() > 0:
            return
        table = {
            "row": pa.array(split.rows),
            "name": pa.array(split.store.names(split.rows)),
            "label": _label_column(split.targets),
        }
        for name, values in gathered.items():
            table[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.flatten().numpy()), values.shape[1])
        self._files.write_outputs(prefix, pa.table(table))


def _label_column(targets: Tensor) -> pa.Array:
    """Return the class of each image, or the list of its labels."""
    if targets.dim() == 1:
        return pa.array(targets.numpy())
    return pa.array([row.nonzero().flatten().tolist() for row in targets], pa.list_(pa.int64()))
