"""Evaluate finished encoders beyond the probe alongside: `python -m sweep.evaluate [SWEEP]`.

The result is a sweep of its own: same records, MLflow, comparison and report, and it is resumed as any other.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.planning.trial_shape import Device
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.planning.evaluation_space import EvaluatedData, EvaluatedWeights, Evaluation
    from sweep.records.sweep_storage import SweepStorage
    from trainables.config import SimCLRConfig
    from trainables.data.catalog import StoreInfo

ENCODER = ("encoder", "width_factor", "stem", "image_size", "normalisation", "precision")
"""What may be said of weights that a person names."""
FINE_TUNING_RATE = 0.1
"""Of pretraining's learning rate (docs/experiments.md)."""


def main(
    sweep: Annotated[str | None, typer.Argument(help="Its name; the latest one if left out.")] = None,
    trials: Annotated[
        list[str] | None,
        typer.Option("--trial", help="A trial's name or id, again and again; default: every seed of the best setting."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[,FIELD=VALUE...]",
            help="Other weights beside them: a torchvision or timm state dict; fields: encoder, stem, normalisation.",
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A prepared data set, again and again; default: that of the sweep."),
    ] = None,
    labels: Annotated[str, typer.Option(help="Shares of the labels.")] = "0.01,0.1,1",
    draws: Annotated[
        int | None, typer.Option(min=1, help="Replicates; default: 3, or as many as there are seeds.")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Of fine-tuning and from scratch; default: pretraining's; 0: frozen features alone."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help=f"Of fine-tuning; default: {FINE_TUNING_RATE:g} of pretraining's.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of every trial.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; start nothing.")] = False,
    name: Annotated[str | None, typer.Option(help="The evaluation's name; default: SWEEP-evaluated.")] = None,
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow server; as for sweep.run.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster, HOST:PORT or auto; as for sweep.run.")] = None,
    device: Annotated[Device, typer.Option(help="auto: GPUs where there are any.")] = "auto",
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")] = None,
) -> None:
    """Evaluate encoders by shares of the labels, frozen and fine-tuned, on their data or on others.

    Frozen features: logistic regression (penalty chosen on validation), kNN with k 20 and 200, nearest class mean.
    Beside them: fine-tuning of the whole encoder, the same from scratch, untrained encoders, raw pixels, colours.

    It is a sweep: python -m sweep.run --resume NAME goes on with it, sweep.compare NAME --html shows it.
    """
    from sweep.planning.evaluation_space import evaluation_space
    from sweep.planning.launch import Launch
    from sweep.planning.memory_budget import room_of
    from sweep.planning.plan_table import print_plan
    from sweep.records.sweep_storage import SweepStorage, check_name
    from sweep.run import plan_of
    from sweep.running.run_context import RunOptions
    from sweep.running.session import RunLocation, Session
    from sweep.scheduling.dispatcher import Rules
    from sweep.space import written

    asked = _asked(
        SweepStorage(storage),
        sweep,
        trials=trials or [],
        named=weights or [],
        datasets=datasets or [],
        labels=labels,
        draws=draws,
        epochs=epochs,
        learning_rate=learning_rate,
        assignments=assignments or [],
    )
    space = evaluation_space(asked)
    chosen = name or space.name
    check_name(chosen)
    launch = Launch(written=written(space), device=device)
    plan = plan_of(launch)
    if dry_run:
        print_plan(plan, room_of(launch, None, use_gpu=device == "gpu"))
        return
    options = RunOptions(rules=Rules(max_concurrent))
    sys.exit(Session(chosen, plan, launch, options, RunLocation(storage, tracking_uri, address)).run(extend=False))


def _asked(
    storage: "SweepStorage",
    sweep: str | None,
    *,
    trials: list[str],
    named: list[str],
    datasets: list[str],
    labels: str,
    draws: int | None,
    epochs: int | None,
    learning_rate: float | None,
    assignments: list[str],
) -> "Evaluation":
    from sweep.planning.evaluation_space import Evaluation

    record = storage.record(sweep)
    config, own = _pretrained(storage, sweep, trials)
    data = tuple(_data(name, config) for name in datasets or [config.labelled_dataset])
    if len({one.fields["target"] == "labels" for one in data}) > 1:
        raise BadInputError("--dataset: some have one class an image, others several labels; evaluate them apart")
    return Evaluation(
        sweep=record.name,
        config=config,
        weights=(own, *(_named(text) for text in named)),
        data=data,
        label_fractions=_fractions(labels),
        draws=draws or max(3, len(own.files)),
        epochs=config.epochs if epochs is None else epochs,
        learning_rate=FINE_TUNING_RATE * config.base_learning_rate if learning_rate is None else learning_rate,
        changes=_single(assignments),
    )


def _pretrained(
    storage: "SweepStorage", sweep: str | None, trials: list[str]
) -> "tuple[SimCLRConfig, EvaluatedWeights]":
    """Return the configuration of the trials and their weights; BadInputError where they have none or differ."""
    from sweep.deployment.trial_choice import find_trial
    from sweep.planning.evaluation_space import EvaluatedWeights
    from trainables.config import UNTRAINABLE, SimCLRConfig
    from trainables.initial_weights import InitialWeights
    from trainables.storage.trial_files import MODEL

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
        files.append(InitialWeights(address, _setting_name(one.entry.name, config)).pinned())
    return configs[0], EvaluatedWeights(files[0].name, tuple(files), {})


def _setting_name(trial: str, config: "SimCLRConfig") -> str:
    return trial.removesuffix(f"-s{config.seed}")


def _named(text: str) -> "EvaluatedWeights":
    """Return weights of NAME=FILE[,FIELD=VALUE...]."""
    from sweep.planning.evaluation_space import EvaluatedWeights
    from trainables.initial_weights import InitialWeights

    first, *rest = text.split(",")
    name, _, address = first.partition("=")
    if not name or not address:
        raise BadInputError(f"--weights {text!r}: give NAME=FILE, then what differs from the trial: ,encoder=resnet50")
    fields = _single(rest)
    if unknown := set(fields) - set(ENCODER):
        raise BadInputError(
            f"--weights {text!r}: {', '.join(sorted(unknown))}: can't be said of weights; {ENCODER} can"
        )
    return EvaluatedWeights(name, (InitialWeights(address, name).pinned(),), fields)


def _single(texts: list[str]) -> dict[str, Any]:
    from trainables.overrides import parse_assignments

    parsed = parse_assignments(texts)
    for field, values in parsed.items():
        if len(values) > 1:
            raise BadInputError(f"--set {field}: one value, got {len(values)}")
    return {field: values[0] for field, values in parsed.items()}


def _data(name: str, config: "SimCLRConfig") -> "EvaluatedData":
    from sweep.planning.evaluation_space import VALIDATION_FRACTION, EvaluatedData
    from trainables.data.catalog import prepared

    info = prepared(name)
    held_back = 0.0 if "validation" in info.splits else config.validation_fraction or VALIDATION_FRACTION
    train = round(info.splits.get("train", 0) * (1 - held_back))
    fields = _target(info, config)
    return EvaluatedData(
        name, min(train, config.max_train_images or train), "validation" in info.splits, fields, info.multi_label
    )


def _target(info: "StoreInfo", config: "SimCLRConfig") -> dict[str, Any]:
    """Return the trial's question where the data set can be asked it, else the data set's own."""
    from trainables.data.catalog import expand_positive

    if info.name == config.labelled_dataset:
        return {"target": config.target, "positive": config.positive, "wanted_specificity": config.wanted_specificity}
    try:
        expand_positive(info, config.positive)
        positive: tuple[str, ...] = config.positive
    except BadInputError:  # its classes are others
        positive = ()
    if config.target == "positive" and positive:
        return {"target": "positive", "positive": positive, "wanted_specificity": config.wanted_specificity}
    several = info.multi_label
    return {
        "target": "labels" if several else "classes",
        "positive": () if several else positive,
        "wanted_specificity": config.wanted_specificity if positive and not several else None,
    }


def _fractions(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0.0 < value <= 1.0 for value in values):
        raise BadInputError(f"--labels {text}: give shares above 0 and up to 1, as in 0.01,0.1,1")
    return values


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
