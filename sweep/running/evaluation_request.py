"""What a person asks of an evaluation, answered from a sweep's records: whose weights, on which data sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweep.deployment.trial_choice import find_trial
from sweep.planning.evaluation_inputs import evaluated_data, label_fractions, named_weights, single_values
from sweep.planning.evaluation_space import EvaluatedWeights, Evaluation
from sweep.records.sweep_storage import SweepStorage
from trainables.config import UNTRAINABLE, SimCLRConfig
from trainables.errors import BadInputError
from trainables.initial_weights import InitialWeights
from trainables.storage.trial_files import MODEL


@dataclass(frozen=True)
class EvaluationRequest:
    """The command's words; None and empty ones mean its defaults."""

    trials: Sequence[str]
    """Names or ids; none: every seed of the best setting."""
    weights: Sequence[str]
    """NAME=FILE[,FIELD=VALUE...]."""
    datasets: Sequence[str]
    labels: str
    """Shares of the labels, separated by commas."""
    draws: int | None
    epochs: int | None
    learning_rate: float | None
    """Of fine-tuning."""
    relative_learning_rate: float
    """The same as a share of pretraining's, where it isn't given."""
    assignments: Sequence[str]
    """FIELD=VALUE, for every trial."""

    def of_sweep(self, storage: SweepStorage, sweep: str | None) -> Evaluation:
        """Return the evaluation of a sweep's trials, of the latest sweep's without a name."""
        record = storage.record(sweep)
        config, own = _pretrained(storage, sweep, self.trials)
        data = tuple(evaluated_data(name, config) for name in self.datasets or [config.labelled_dataset])
        if len({one.fields["target"] == "labels" for one in data}) > 1:
            raise BadInputError("--dataset: some have one class an image, others several labels; evaluate them apart")
        relative_rate = self.relative_learning_rate * config.base_learning_rate
        return Evaluation(
            sweep=record.name,
            config=config,
            weights=(own, *(named_weights(text) for text in self.weights)),
            data=data,
            label_fractions=label_fractions(self.labels),
            draws=self.draws or max(3, len(own.files)),
            epochs=config.epochs if self.epochs is None else self.epochs,
            learning_rate=relative_rate if self.learning_rate is None else self.learning_rate,
            changes=single_values(self.assignments),
        )


def _pretrained(
    storage: SweepStorage, sweep: str | None, trials: Sequence[str]
) -> tuple[SimCLRConfig, EvaluatedWeights]:
    """Return the configuration of the trials and their weights; BadInputError where they have none or differ."""
    if trials:
        found = [find_trial(storage, sweep, trial=trial)[2] for trial in trials]
    else:
        found = sorted(find_trial(storage, sweep)[1].finished, key=lambda one: int(one.entry.config["seed"]))
    configs = [SimCLRConfig.parse(one.entry.config) for one in found]
    if len({config.model_copy(update={"seed": 0}) for config in configs}) > 1:
        raise BadInputError("--trial: they differ in more than the seed; evaluate each setting by itself")
    files = []
    for one, config in zip(found, configs, strict=True):
        if one.result.status != "finished" or config.encoder in UNTRAINABLE:
            raise BadInputError(f"--trial {one.entry.name}: has no final weights; it is {one.result.status}")
        address = storage.trial_of(one.entry).storage.address(MODEL)
        files.append(InitialWeights(address, one.entry.name.removesuffix(f"-s{config.seed}")).pinned())
    return configs[0], EvaluatedWeights(files[0].name, tuple(files), {})
