"""Evaluation of a trial: the selection split after an epoch, every held-out split at the end."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.data.data_split import DataSplit
from trainables.data.trial_data import TrialData
from trainables.distributed import rank, to_device, world_size
from trainables.evaluation.features import RankShard, encode, gathered_numbers
from trainables.evaluation.image_outputs import image_outputs
from trainables.evaluation.knn import centroid_metrics, knn_metrics, knn_numbers
from trainables.evaluation.logistic_regression import CONVERGED, LogisticRegression, best_regression
from trainables.evaluation.logit_metrics import VALIDATION, LogitMetrics, MethodOutputs
from trainables.evaluation.number_metrics import number_metrics
from trainables.evaluation.probe import ProbeWeights
from trainables.evaluation.representation import LabelFreeEvaluation
from trainables.evaluation.ridge_regression import RidgeRegression, best_ridge
from trainables.metrics import names
from trainables.storage.trial_files import TrialFiles

PREDICTED = "predicted"
"""The column of predicted numbers, with the method before it."""
PROBE = ""
"""Prefix of the probe's metrics: none."""


class EncoderEvaluator:
    """Evaluation of an encoder: simultaneous probe, label-free metrics, and classifiers on frozen features.

    The classifiers are kNN, nearest class mean and logistic regression. Without `projector` and `probe`, as for an
    untrained encoder, the metrics that need them are left out.
    """

    def __init__(
        self,
        config: TrialConfig,
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
        """Return the metrics on the selection split; kNN is evaluated every `knn_every` epochs."""
        config, data, split = self._config, self._data, self._data.selection
        metrics = self._label_free()
        if not data.has_labels:
            return metrics
        shard = self._encode(data.evaluated[split])
        votes = config.knn_every and epoch % config.knn_every == 0
        bank = self._encode(data.bank) if votes else None
        if data.has_numbers:
            metrics |= self._probe_numbers(split, shard)[0]
            return metrics | (knn_numbers(config, split, bank, shard)[0] if bank else {})
        if self._probe is not None:
            metrics = LogitMetrics(config, data).metrics(self._probe_outputs(split, shard)) | metrics
        return metrics | (knn_metrics(config, data, split, bank, shard)[0] if bank else {})

    def everything(self) -> dict[str, float]:
        """Return the metrics of every method on every held-out split, and write the per-image outputs."""
        data = self._data
        metrics = self._label_free(last=True)
        if not data.has_labels:
            return metrics
        if data.has_numbers:
            return metrics | self._numbers()
        bank = self._encode(data.bank)
        shards = {split: self._encode(images) for split, images in data.evaluated.items()}
        regression, found = self._regression(bank, shards.get(VALIDATION))
        self.linear = regression.state_dict()
        metrics |= found
        by_logits = LogitMetrics(self._config, data)
        for split, shard in shards.items():
            methods = [] if self._probe is None else [self._probe_outputs(split, shard)]
            methods += [MethodOutputs(split, names.LINEAR, regression.logits(shard.features), shard)]
            for outputs in methods:
                metrics |= by_logits.everything(outputs)
            voted, votes = knn_metrics(self._config, data, split, bank, shard)
            metrics |= voted | centroid_metrics(data, split, bank, shard)
            self._write_outputs(split, methods, votes)
        return metrics

    def _numbers(self) -> dict[str, float]:
        """Return the metrics of numbers by ridge regression, kNN and the probe, and write the predictions by image."""
        data, metrics = self._data, dict[str, float]()
        bank = self._encode(data.bank)
        shards = {split: self._encode(images) for split, images in data.evaluated.items()}
        regression, metrics = self._ridge(bank, shards.get(VALIDATION))
        self.linear = regression.state_dict()
        for split, shard in shards.items():
            predicted = regression.predict(shard.features)
            metrics |= _of_numbers(split, names.LINEAR, predicted, shard)
            found, own = self._probe_numbers(split, shard)
            voted, means = knn_numbers(self._config, split, bank, shard)
            metrics |= found | voted
            columns = {f"{names.LINEAR}{PREDICTED}": predicted, f"{names.KNN}{PREDICTED}": means}
            columns |= {} if own is None else {PREDICTED: own}
            if (table := image_outputs(data.evaluated[split], columns)) is not None:
                self._files.write_outputs(split, table)
        return metrics

    def _ridge(self, bank: RankShard, validation: RankShard | None) -> tuple[RidgeRegression, dict[str, float]]:
        """Return the regression fitted on the bank; if there are several penalties, validation chooses one."""
        candidates = self._config.linear_candidates
        if not candidates:
            return RidgeRegression(bank, regularisation=self._config.linear_regularisation), {}
        assert validation is not None  # TrialData has checked it
        regression, chosen = best_ridge(bank, validation, candidates=candidates)
        return regression, {names.LINEAR_REGULARISATION: chosen}

    @torch.no_grad()
    def _probe_numbers(self, split: str, shard: RankShard) -> tuple[dict[str, float], Tensor | None]:
        """Return the probe's metrics, and its numbers (n, 1) in their own unit; nothing without a probe."""
        if self._probe is None:
            return {}, None
        mean, deviation = self._data.number_moments
        predicted = self._probe(shard.features).double() * deviation + mean
        return _of_numbers(split, PROBE, predicted, shard), predicted

    def _encode(self, split: DataSplit) -> RankShard:
        return encode(self._encoder, split, image_size=self._config.image_size, device=self._device)

    def _label_free(self, *, last: bool = False) -> dict[str, float]:
        """Return the label-free metrics; empty without a projector, except for an untrained encoder without labels."""
        if self._projector is None and (self._data.has_labels or self._config.epochs > 0):
            return {}
        evaluation = LabelFreeEvaluation(self._config, self._data, self._encoder, self._projector, self._device)
        return evaluation.metrics() | (evaluation.lidar() if last else {})

    @torch.no_grad()
    def _probe_outputs(self, split: str, shard: RankShard) -> MethodOutputs:
        assert self._probe is not None
        return MethodOutputs(split, PROBE, self._probe(shard.features), shard)

    def _regression(self, bank: RankShard, validation: RankShard | None) -> tuple[LogisticRegression, dict[str, float]]:
        """Return the regression fitted on the bank; if there are several penalties, validation chooses one."""
        weighted, classes = replace(bank, weights=self._fit_weights()), len(self._data.classes)
        candidates = self._config.linear_candidates
        if not candidates:
            fixed = self._config.linear_regularisation
            regression = LogisticRegression(weighted, classes=classes, regularisation=fixed)
            return regression, _unconverged(regression)
        assert validation is not None  # TrialData has checked it
        regression, chosen = best_regression(weighted, validation, classes=classes, candidates=candidates)
        return regression, {names.LINEAR_REGULARISATION: chosen, **_unconverged(regression)}

    def _fit_weights(self) -> Tensor | None:
        """Return this rank's weights of the bank's images; None if all weights are equal."""
        data = self._data
        everyone = np.ones(len(data.bank), dtype=np.bool_)
        weights = ProbeWeights(self._config, data.bank.targets, everyone, len(data.classes)).of_fit()
        return None if weights is None else to_device(weights[rank() :: world_size()].contiguous(), self._device)

    def _write_outputs(self, split: str, methods: list[MethodOutputs], votes: Tensor) -> None:
        """Write the logits of every method, the regression's first, and kNN's votes."""
        columns = {f"{outputs.method}logits": outputs.logits for outputs in reversed(methods)} | {"knn": votes}
        table = image_outputs(self._data.evaluated[split], columns)
        if table is not None:
            self._files.write_outputs(split, table)


def _of_numbers(split: str, method: str, predicted: Tensor, shard: RankShard) -> dict[str, float]:
    """Return the metrics of this rank's numbers (n, 1), over all ranks."""
    return names.qualified(split, method, number_metrics(*gathered_numbers(predicted, shard)))


def _unconverged(regression: LogisticRegression) -> dict[str, float]:
    """Return the bound on an unconverged fit's distance from its optimum, as a metric; empty if it converged."""
    return {names.LINEAR_UNCONVERGED: regression.excess} if regression.excess > CONVERGED else {}
