"""Model card from the records: purpose, metrics and limits of an exported model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.deployment.trial_choice import ChosenTrial
from trainables.metrics.names import LINEAR
from trainables.printing.close_numbers import in_range, range_text
from trainables.printing.printable_text import markdown_text, printable

if TYPE_CHECKING:
    from sweep.comparison.trial_outputs import TrialOutputs
    from sweep.records.sweep_storage import SweepStorage
    from trainables.config import TrialConfig
    from trainables.data.store_info import StoreInfo

TEMPLATES = Path(__file__).parent / "templates"
HEAD_METRICS = {"linear": LINEAR, "probe": ""}
"""Prefix of the metrics of each head."""
TORCHVISION = ("resnet18", "resnet34", "resnet50")


def model_card(chosen: ChosenTrial, storage: "SweepStorage") -> str:
    """Return the card as Markdown; all numbers come from the records."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": lambda value: markdown_text(str(value)), "printable": printable}
    return environment.get_template("model_card.md.j2").render(_values(chosen, storage))


def _values(chosen: ChosenTrial, storage: "SweepStorage") -> dict[str, Any]:
    """Return the template's values by name."""
    from sweep.comparison.trial_outputs import TrialOutputs
    from sweep.comparison.trial_report import trial_command
    from trainables.config import TrialConfig

    outputs, config = TrialOutputs(storage), TrialConfig.parse(chosen.config)
    entry, final, store = chosen.trial.entry, chosen.final, chosen.store
    return {
        **_encoder(config),
        "name": entry.name,
        "origin": _origin(chosen, config, storage),
        "head_words": _head(chosen, config),
        "number": _number(chosen),
        "several": config.target == "labels",
        "classes": final.classes,
        "positive": final.positive,
        "size": store.image_size,
        "channels": store.channels,
        "bits": chosen.bits,
        "dtype": store.dtype,
        "metrics": _metrics(chosen, outputs),
        "limits": _limits(chosen, outputs),
        "config": {name: value for name, value in chosen.config.items() if value not in (None, [], ())},
        "store": _data_sentence(store),
        "trial_id": entry.trial_id,
        "sweep": chosen.sweep.name,
        "versions": ", ".join(f"{name} {version}" for name, version in final.versions.items()),
        "command": trial_command(entry, workers=final.workers),
    }


def _encoder(config: "TrialConfig") -> dict[str, str]:
    """Return the encoder and its input in words; `torchvision` names the model that it equals, if there is one."""
    plain = config.width_factor == 1.0 and not config.small_stem and config.encoder in TORCHVISION
    crop = "the central 0.875 is cut out and " if config.image_size > 32 else ""
    side = f"{config.image_size} x {config.image_size}"
    return {
        "encoder": config.encoder,
        "torchvision": config.encoder if plain else "",
        "departure": (
            "starts with a 3 x 3 convolution" if config.small_stem else "isn't as wide or deep as any of torchvision's"
        ),
        "preprocessing": f"({crop}resized to {side} by bicubic interpolation, scaled to 0 ... 1)",
    }


def _head(chosen: ChosenTrial, config: "TrialConfig") -> str:
    """Return the classifier in words, with its data set if that isn't the one of pretraining."""
    from trainables.models.inference import head_words

    elsewhere = config.epochs == 0 or config.evaluation_dataset
    return head_words(chosen.head, config.target) + (f" of {config.labelled_dataset}" if elsewhere else "")


def _origin(chosen: ChosenTrial, config: "TrialConfig", storage: "SweepStorage") -> str:
    """Return in words how the encoder's weights were made: on which data, with which initial weights."""
    weights = _weights(config, storage)
    if config.epochs == 0:
        return f"with the weights of {weights}" if weights else "with random weights"
    way = "trained with the labels of" if config.training == "supervised" else "pretrained without labels by SimCLR on"
    start = f", from the weights of {weights}" if weights else ""
    return f"{way} {config.dataset} ({chosen.final.train_images:,} images){start}"


def _weights(config: "TrialConfig", storage: "SweepStorage") -> str:
    """Return in words where the initial weights come from; empty if they are random."""
    from sweep.comparison.pool_leaks import pretrained_on
    from trainables.weights.initial_weights import InitialWeights

    if config.initial_weights is None:
        return ""
    weights, pool = InitialWeights.parse(config.initial_weights), pretrained_on(config.initial_weights, storage)
    return weights.name if pool is None else f"trial {weights.address.split('/')[-2]}, pretrained on {pool[0]}"


def _metrics(chosen: ChosenTrial, outputs: "TrialOutputs") -> list[dict[str, str]]:
    from sweep.comparison.wording import method_of
    from sweep.console.formatting import interval, number
    from sweep.statistics.metric_intervals import sampling_interval

    row = chosen.found.row
    shown = []
    for metric, value in chosen.trial.result.metrics.items():
        split, _, name = metric.partition("/")
        if split != "test" or "_at_" in name or method_of(name)[0] != HEAD_METRICS[chosen.head]:
            continue
        own = outputs.of_trial(chosen.trial.entry, metric)
        shown.append(
            {
                "metric": metric,
                "value": number(metric, value),
                "images": interval(metric, sampling_interval(metric, [own]) if own is not None else None),
                "mean": number(metric, row.mean(metric)) if len(row.finished) > 1 else "",
                "seeds": interval(metric, row.interval(metric)),
            }
        )
    return shown


def _number(chosen: ChosenTrial) -> dict[str, str]:
    """Return the predicted number's name and the values that it was learned from; empty for a classifier."""
    if not chosen.predicts_number:
        return {}
    learned, name = chosen.final.number, f"{chosen.store.number} ({chosen.store.name})"
    if learned is None:
        return {"name": name, "learned": "The values that it was learned from weren't kept."}
    mean = in_range(learned.mean, learned.least, learned.largest)
    ends = f"{range_text(learned.least, learned.largest)}, mean {mean}, deviation {learned.deviation:.4g}"
    return {
        "name": name,
        "learned": f"Learned from values of {ends}; predictions beyond these ends are extrapolated.",
    }


def _limits(chosen: ChosenTrial, outputs: "TrialOutputs") -> list[str]:
    from sweep.comparison.conclusions import SMOKE_NOTICE, conclusions
    from sweep.comparison.standing import standing
    from sweep.space import SELECTED_ON_TEST

    sweep = chosen.sweep
    table = chosen.found.table
    sentences = [*conclusions(sweep, table, standing(sweep, table, outputs)), *sweep.caveats]
    if sweep.smoke:
        sentences.insert(0, SMOKE_NOTICE)
    if sweep.selected_on == "test":
        sentences.append(SELECTED_ON_TEST)
    if leaks := chosen.store.leaks.described():
        sentences.append(leaks)
    return [*sentences, f"Made for images like those of {chosen.store.title}; nothing is known of others."]


def _data_sentence(store: "StoreInfo") -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in store.splits.items())
    return f"{store.title} from {store.source}; {splits} images; licence: {store.licence}."
