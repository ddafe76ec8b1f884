"""Names of trials, from the fields that vary."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sweep.planning.trial import PlannedTrial
from trainables.config import UNTRAINABLE, TrialConfig
from trainables.data.bands import band_words
from trainables.weights.initial_weights import InitialWeights

NAMED_FIELDS = ("dataset", "batch_size", "temperature", "epochs", "seed")
"""Fields that a trial's name always contains."""


def named(trials: Sequence[PlannedTrial], searched: Collection[str]) -> tuple[PlannedTrial, ...]:
    """Return the trials with names, made of NAMED_FIELDS and of other fields that vary or are searched."""
    groups: dict[str, list[TrialConfig]] = defaultdict(list)
    for trial in trials:
        if trial.baseline is None:
            groups[trial.method].append(trial.config)
    varying = {}
    for method, configs in groups.items():
        different = set(varying_fields(configs)) | set(searched)
        varying[method] = [name for name in TrialConfig.model_fields if name in different and name not in NAMED_FIELDS]
    names = [_name(trial, varying.get(trial.method, [])) for trial in trials]
    shared = {name for name, count in Counter(names).items() if count > 1}
    return tuple(
        replace(trial, name=f"{name}-{trial.trial_id[:4]}" if name in shared else name)
        for trial, name in zip(trials, names, strict=True)
    )


def _name(trial: PlannedTrial, varying: Sequence[str]) -> str:
    config = trial.config
    if trial.baseline in UNTRAINABLE:
        return f"{config.dataset}-{trial.baseline}-{trial.trial_id[:4]}"
    if trial.baseline:
        return f"{config.dataset}-{trial.baseline}-s{config.seed}-{trial.trial_id[:4]}"
    if trial.method:
        # Labels' shares are what its trials are told apart by; the id says the rest.
        parts = [config.dataset, trial.method.replace(" ", "_"), f"l{config.label_fraction:g}"]
        parts += [_spelled(config.initial_weights)] if "initial_weights" in varying else []
        return "-".join([*parts, f"s{config.seed}", trial.trial_id[:4]])
    parts = [config.dataset, f"b{config.batch_size}", f"t{config.temperature:g}", f"e{config.epochs}"]
    parts += [f"{name}_{_bands(config) if name == 'bands' else _spelled(getattr(config, name))}" for name in varying]
    return "-".join([*parts, f"s{config.seed}"])


def _bands(config: TrialConfig) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", band_words(config.bands))


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return "_".join(_spelled(part) for part in value)
    if isinstance(value, str) and "#name=" in value:
        value = InitialWeights.parse(value).name
    return f"{value:g}" if isinstance(value, float) else re.sub(r"[/\s]+", "_", str(value))


def varying_fields(configs: Iterable[TrialConfig]) -> list[str]:
    """Return the fields that differ among the configurations on one data set, in the order of TrialConfig.

    Fields that differ only between data sets, such as their image sizes, are not included.
    """
    by_dataset: dict[str, list[TrialConfig]] = defaultdict(list)
    for config in configs:
        by_dataset[config.dataset].append(config)
    return [
        name
        for name in TrialConfig.model_fields
        if any(len({getattr(config, name) for config in group}) > 1 for group in by_dataset.values())
    ]
