"""The training loop of one trial, in plain PyTorch.

`train` is a generator: for each epoch it trains, evaluates, writes a checkpoint and yields the epoch's record. The
caller (the command line of one trial, or a Ray actor) decides whether it continues.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.augment.evaluation_view import evaluation_view
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.config import UNTRAINABLE, TrialConfig
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.distributed import rank, slice_of, sum_over_ranks, to_device, world_size
from trainables.errors import BadInputError
from trainables.evaluation.evaluator import EncoderEvaluator
from trainables.evaluation.probe import BatchWeights, ProbeWeights
from trainables.heartbeat import beat
from trainables.memory.constants import EVALUATION_BATCH
from trainables.memory.layer_sizes import footprint
from trainables.memory.recomputation import segments
from trainables.metrics import names
from trainables.models.band_weights import fitted_to_bands
from trainables.models.batch_norm import calibrate
from trainables.models.encoder import ChannelNormalisation, ColourStatistics
from trainables.models.pretrained import load_weights, start_from
from trainables.models.random_features import FILTERS, RandomFeatures
from trainables.models.simclr_model import ModelOutputs, SimCLR, parameter_groups
from trainables.models.weights_file import INPUTS
from trainables.objectives.methods import objective_of
from trainables.objectives.objective import SUMMED
from trainables.randomness.counter_based import RandomStream, positions, uniform
from trainables.schedule import TrainingSteps, learning_rate
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, now_ms
from trainables.training.checkpoint import newest_checkpoint
from trainables.training.data_parallel import data_parallel
from trainables.training.device_images import PixelSource
from trainables.training.final_record import final_record, versions
from trainables.training.finite_watch import FiniteWatch
from trainables.training.optimiser import make_optimiser
from trainables.training.precision import autocast, memory_layout, refuse_undefined_gradients, set_precision
from trainables.weights.initial_weights import InitialWeights


def train(
    config: TrialConfig,
    *,
    store: ImageStore,
    evaluation_store: ImageStore | None = None,
    files: TrialFiles,
    device: torch.device,
    recompute: bool = False,
) -> Iterator[EpochRecord]:
    """Train from the newest checkpoint (or from the start) to the last epoch, yielding each epoch's record.

    All ranks of a process group must iterate together; rank 0 writes the files. A finished trial yields nothing.

    Args:
        config: Configuration of the trial.
        store: Prepared images to pretrain on.
        evaluation_store: Prepared images with the labels to evaluate on; None: `store`.
        files: Files of the trial: records, checkpoints, outputs.
        device: Device of this rank.
        recompute: Store fewer activations and recompute them: less memory, slower steps, the same results
            (docs/decisions.md, 51).

    Raises:
        BadInputError: The trial can't be trained with this data or device; raised before the first step.
        NonFiniteLossError: Infinite or NaN loss; raised before the optimiser's step, the last checkpoint is kept.
    """
    if files.finished() is not None:
        return
    trial = TrialTrainer(
        config, store=store, evaluation_store=evaluation_store, files=files, device=device, recompute=recompute
    )
    trial.resume()
    try:
        for epoch in range(trial.epoch + 1, config.epochs + 1):
            yield trial.run_epoch(epoch)
        if config.epochs == 0:
            yield trial.evaluate_untrained()
        trial.finish()
    finally:  # also when the caller stops iterating
        files.flush()


class TrialTrainer:
    """Trainer of one trial on one rank: its state and its phases."""

    def __init__(
        self,
        config: TrialConfig,
        *,
        store: ImageStore,
        evaluation_store: ImageStore | None = None,
        files: TrialFiles,
        device: torch.device,
        recompute: bool = False,
    ) -> None:
        self.config, self.files, self.device, self.recompute = config, files, device, recompute
        self.rank, self.world = rank(), world_size()
        self._check()
        set_precision(config.precision, device)
        self.data = data = TrialData(config, store, evaluation_store)
        self.weights = ProbeWeights(config, data.train.targets, data.labelled, data.outputs) if data.has_probe else None
        self.epoch = 0
        self.records: list[EpochRecord] = []
        self.steps = TrainingSteps(len(data.train), config.batch_size, config.epochs)
        self.layout = memory_layout(config.precision, device)
        normalise = ChannelNormalisation(*data.channel_moments(device)) if config.normalisation == "train" else None
        if config.encoder in UNTRAINABLE:
            self._make_baseline(normalise)
        else:
            self._make_model(normalise)

    def _check(self) -> None:
        """Raise BadInputError if the configuration can't be trained on this data or device."""
        if self.config.epochs == 0:
            return
        if self.config.batch_size < self.world:
            raise BadInputError(f"batch_size: {self.config.batch_size} is less than one image for {self.world} workers")
        refuse_undefined_gradients(self.config, self.device)

    def _make_baseline(self, normalise: nn.Module | None) -> None:
        """Make a baseline encoder without weights, which is only evaluated."""
        first: list[nn.Module] = [normalise] if normalise is not None else []
        features = {"colours": ColourStatistics, "pixels": nn.Flatten}.get(self.config.encoder)
        last = self._random_features(nn.Sequential(*first)) if features is None else features()
        self.encoder: nn.Module = nn.Sequential(*first, last).to(self.device)

    def _random_features(self, normalise: nn.Module) -> RandomFeatures:
        """Return filters taken from the first train images of an epoch, the same on every rank."""
        count = min(FILTERS, len(self.data.train))
        images = self.data.train.pixels(positions(self.config.seed, 0, count, len(self.data.train)))
        views = evaluation_view(images, image_size=self.config.image_size)
        return RandomFeatures(normalise(views), self.config.seed)

    def _make_model(self, normalise: nn.Module | None) -> None:
        """Make the model with its initial weights, the optimiser and the source of batches."""
        config, data, device = self.config, self.data, self.device
        self.objective = objective_of(config, data, normalise)
        self.model = self.objective.model
        if self.recompute:
            self.model.encoder.segments = segments(footprint(config, data.outputs, channels=data.channels))
        if config.initial_weights is not None:
            initial = InitialWeights.parse(config.initial_weights)
            loaded, stated = load_weights(initial)
            weights = fitted_to_bands(loaded, initial, data.inputs, stated)
            start_from(self.model.encoder, weights, initial.address)
        self.model.to(device, memory_format=self.layout)  # type: ignore[call-overload]
        self.encoder = self.model.encoder
        self.parallel = data_parallel(self.model, device)
        self.optimiser = make_optimiser(config, parameter_groups(self.model, config.weight_decay))
        self.watch = FiniteWatch(self._last_good)
        self.pixels = PixelSource(data.train, device)

    # Training

    def run_epoch(self, epoch: int) -> EpochRecord:
        """Train and evaluate one epoch, write its record and checkpoint, and return the stored record."""
        started = time.perf_counter()
        metrics = self._train_epoch(epoch)
        last = epoch == self.config.epochs
        evaluator = self._evaluator()
        metrics |= evaluator.everything() if last else evaluator.selection(epoch)
        return self._keep(epoch, metrics, time.perf_counter() - started, evaluator)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        started = time.perf_counter()
        self.model.train()
        steps = self.steps.of_epoch(epoch)
        sums = torch.zeros(SUMMED, dtype=torch.float64, device=self.device)
        rate = 0.0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        for step in steps:
            rate = self._learning_rate(step)
            sums += self._step(step, rate)
        self.watch.finish()
        sums[3:] = sum_over_ranks(sums[3:])
        return {
            **self.objective.metrics((sums / len(steps)).tolist()),
            **({} if self.data.seasons is None else {names.OTHER_DATE: float(self.data.seasons.paired.mean())}),
            names.LEARNING_RATE: rate,
            names.IMAGES_PER_SECOND: len(steps) * self.config.batch_size / (time.perf_counter() - started),
            **_gpu_memory(self.device),
        }

    def _step(self, step: int, rate: float) -> Tensor:
        """Run one optimiser step; return its metrics on this rank, (5,)."""
        beat()
        images, targets, draws, weights = self._batch(step)
        outputs = self._forward(self.objective.views(images, draws).to(memory_format=self.layout))
        loss, metrics = self.objective.loss(outputs, targets, weights)
        self.optimiser.zero_grad(set_to_none=True)
        # DistributedDataParallel averages; gradients here are sums over ranks (trainables/distributed.py).
        (loss * self.world).backward()  # type: ignore[no-untyped-call]
        # After the backward pass, since only then all ranks see the same numbers and stop together.
        self.watch.look(step, rate, metrics[0], self.model.parameters())
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return metrics

    def _batch(self, step: int) -> tuple[Tensor, Tensor, tuple[ViewDraws, ViewDraws], BatchWeights | None]:
        """Return this rank's images (k n, C, H, W), targets (k n,), view parameters and the probe's weights of a step.

        k is 1 if both views are of one image, 2 with pairs of seasons: all first images, then all partners.
        """
        size = self.config.batch_size
        mine = slice_of(self.rank, self.world, size)
        everyone = self._pairs(step)
        order = everyone[:, mine].ravel()
        height, width = self.data.image_shape
        draw_a, draw_b = (
            draw_view(
                self.config,
                stream,
                step,
                size,
                height=height,
                width=width,
                channels=self.data.channels,
                colours=self.data.colours,
            ).slice(mine)
            for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
        )
        images = self.pixels.batch(order)
        targets = to_device(self.data.train.targets[order], self.device)
        weights = None if self.weights is None else self.weights.of_step(step, everyone, mine, self.device)
        return images, targets, (draw_a, draw_b), weights

    def _pairs(self, step: int) -> NDArray[np.int64]:
        """Return the positions (k, batch) of a step's images, of all ranks; in an epoch each image comes first once."""
        size = self.config.batch_size
        images = positions(self.config.seed, step * size, size, len(self.data.train))
        if self.data.seasons is None:
            return images[None]
        draws = uniform(self.config.seed, RandomStream.SEASON, step, (size,))
        return np.stack([images, self.data.seasons.partners(images, draws)])

    def _forward(self, views: Tensor) -> ModelOutputs:
        with autocast(self.config.precision, self.device):
            outputs: ModelOutputs = self.parallel(views)
        return outputs

    def _learning_rate(self, step: int) -> float:
        return learning_rate(
            step,
            base=self.config.base_learning_rate,
            batch_size=self.config.batch_size,
            num_examples=len(self.data.train),
            epochs=self.config.epochs,
            warmup_epochs=self.config.warmup_epochs,
            scaling=self.config.learning_rate_scaling,
        )

    # Evaluation

    def evaluate_untrained(self) -> EpochRecord:
        """Evaluate the encoder as it was initialised, as epoch 0."""
        started = time.perf_counter()
        if self.config.calibrate_batch_norm:
            calibrate(self.encoder, self._train_batches())
        evaluator = self._evaluator()
        return self._keep(0, evaluator.everything(), time.perf_counter() - started, evaluator)

    def _train_batches(self) -> Iterator[Tensor]:
        """Yield this rank's evaluation views of each full train batch, in the order of the first epoch."""
        count = len(self.data.train)
        size = min(EVALUATION_BATCH, count)
        mine = slice_of(self.rank, self.world, size)
        for start in range(0, count - size + 1, size):
            order = positions(self.config.seed, start + mine.start, mine.stop - mine.start, count)
            images = self.data.train.pixels(order)
            beat()
            yield evaluation_view(to_device(images, self.device), image_size=self.config.image_size)

    def _evaluator(self) -> EncoderEvaluator:
        trained = self.config.epochs > 0
        return EncoderEvaluator(
            self.config,
            self.data,
            self.encoder,
            projector=self.model.projector if trained and isinstance(self.model, SimCLR) else None,
            probe=self.model.probe if trained and self.data.has_probe else None,
            files=self.files,
            device=self.device,
        )

    # Records and checkpoints

    def _keep(self, epoch: int, metrics: dict[str, float], seconds: float, evaluator: EncoderEvaluator) -> EpochRecord:
        """Write the record, then the checkpoint.

        A crash in between repeats the epoch; its first record is kept.
        """
        record = EpochRecord(epoch=epoch, time_ms=now_ms(), seconds=seconds, metrics=metrics)
        self.epoch = epoch
        if self.rank == 0:
            if epoch == self.config.epochs and self.config.encoder not in UNTRAINABLE:
                self._save_model(evaluator.linear)
            record = self.files.write_epoch(record)
            self.records.append(record)
            if epoch > 0:
                self.files.save_checkpoint(epoch, self._state())
        return record

    def _save_model(self, linear: dict[str, Tensor]) -> None:
        """Write the final weights of the encoder and, if they exist, of logistic regression and probe."""
        weights = {"encoder": self.model.encoder.state_dict(), **({"linear": linear} if linear else {})}
        if self.config.epochs > 0 and self.data.has_probe:
            weights["probe"] = self.model.probe.state_dict()
        inputs = self.data.inputs.model_dump(mode="json", exclude_defaults=True)
        self.files.save_model({"config": self.config.model_dump(mode="json"), INPUTS: inputs, **weights})

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.steps.of_epoch(self.epoch).stop,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "records": [record.model_dump() for record in self.records],
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.data.fingerprint,
            "versions": versions(),
        }

    def resume(self) -> None:
        """Restore the newest checkpoint that every rank can read; without one, start from the beginning."""
        if self.rank == 0:
            self.files.clear_failure()
            self.files.write_config(self.config.model_dump(mode="json"), self.data.fingerprint)
        state = newest_checkpoint(self.files, self.device)
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.records = [EpochRecord.model_validate(record) for record in state["records"]]
            self.epoch = state["epoch"]
            if self.rank == 0:
                self.files.write_missing(self.records)

    def _last_good(self) -> str:
        address = self.files.checkpoint_address()
        return f"the last good checkpoint is {address}" if address else "no epoch was finished before"

    def finish(self) -> None:
        """Write the final record, which marks the trial as finished."""
        if self.rank == 0:
            self.files.write_final(
                final_record(self.config, self.data, self.records, recomputed=self.recompute, device=self.device)
            )


def _gpu_memory(device: torch.device) -> dict[str, float]:
    if device.type != "cuda":
        return {}
    return {names.GPU_MEMORY: torch.cuda.max_memory_allocated(device) / 2**30}
