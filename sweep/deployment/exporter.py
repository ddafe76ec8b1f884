"""The winner as files: weights, ONNX, facts and a model card.

encoder.safetensors   the encoder under torchvision's names
model.onnx            images to probabilities and features; needs onnxruntime alone
model.json            classes, sizes and where it comes from
MODEL_CARD.md         what it is, how good, and its limits, from the records
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.comparison.dataset_report import DataSetReport
    from sweep.comparison.table import Row, Trial
    from sweep.records.sweep_record import SweepStorage
    from trainables.data.catalog import StoreInfo
    from trainables.storage.trial_records import FinalRecord

TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = ("safetensors", "onnx", "onnxruntime", "onnxscript")
PARITY = 1e-4
"""The most that ONNX's probabilities may differ from PyTorch's."""
PARITY_IMAGES = 16
OPSET = 18
TORCHVISION = ("resnet18", "resnet34", "resnet50")


@dataclass(frozen=True)
class Chosen:
    """The trial that is exported, and what is known of it."""

    part: "DataSetReport"
    row: "Row"
    trial: "Trial"
    final: "FinalRecord"
    store: "StoreInfo"
    head: str

    @property
    def config(self) -> Mapping[str, Any]:
        """The trial's fields."""
        return self.trial.entry.config

    @property
    def bits(self) -> int:
        """Of a pixel's channel."""
        return 16 if self.store.dtype == "uint16" else 8


def choose(storage: "SweepStorage", sweep: str | None, *, trial: str | None, best: str | None, head: str) -> Chosen:
    """Return the trial of this name or id, else the first seed of the best setting; BadInputError without one."""
    from trainables.data.catalog import StoreInfo

    part, row, found = find_trial(storage, sweep, trial=trial, best=best)
    final = storage.trial_of(found.entry).final()
    if final is None or found.entry.config["encoder"] in ("pixels", "colours"):
        raise BadInputError(f"--trial {found.entry.name}: has no weights to export; it is {found.result.status}")
    name = found.entry.config.get("evaluation_dataset") or found.entry.config["dataset"]
    info = StoreInfo.read(name)
    if info is None:
        raise BadInputError(f"data set {name!r}: isn't prepared here, and its image size is needed; prepare it first")
    return Chosen(part, row, found, final, info, head)


def find_trial(
    storage: "SweepStorage", sweep: str | None, *, trial: str | None = None, best: str | None = None
) -> "tuple[DataSetReport, Row, Trial]":
    """Return the trial of this name or id, else the first seed of the best setting by `best`; BadInputError without."""
    from sweep.comparison.dataset_report import reports

    record = storage.record(sweep)
    if best is not None:
        record = record.model_copy(update={"objective": best, "direction": "min" if best.endswith("loss") else "max"})
    parts = reports(record, storage)
    everything = [(part, row, one) for part in parts for row in part.rows for one in row.trials]
    if trial is not None:
        for part, row, one in everything:
            if trial in (one.entry.name, one.entry.trial_id):
                return part, row, one
        known = ", ".join(one.entry.name for _, _, one in everything)
        raise BadInputError(f"--trial {trial}: not in sweep {record.name!r}; its trials: {known}")
    if len(parts) > 1:
        raise BadInputError(f"sweep {record.name!r}: has {len(parts)} data sets, so several bests; name a --trial")
    winner = parts[0].table.best if parts else None
    if winner is None or winner.first is None:
        raise BadInputError(f"sweep {record.name!r}: no setting has {record.objective} yet; name a --trial")
    return parts[0], winner, winner.first


def write(chosen: Chosen, storage: "SweepStorage", folder: Path) -> float:
    """Write the files into a folder, which is made; return by how much ONNX's probabilities differ from PyTorch's."""
    from safetensors.torch import save

    from trainables.models.inference import deployed, torchvision_state

    state = storage.trial_of(chosen.trial.entry).load_model()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "encoder.safetensors").write_bytes(save(torchvision_state(state)))
    module = deployed(state, size=chosen.store.image_size, bits=chosen.bits, head=chosen.head)
    difference = _write_onnx(module, chosen, folder / "model.onnx")
    (folder / "model.json").write_text(json.dumps(_facts(chosen), indent=1) + "\n")
    (folder / "MODEL_CARD.md").write_text(_card(chosen), encoding="utf-8")
    return difference


def _write_onnx(module: Any, chosen: Chosen, path: Path) -> float:
    import numpy as np
    import onnxruntime
    import torch

    shape = (PARITY_IMAGES, *chosen.store.image_size, chosen.store.channels)
    images = np.random.default_rng(0).integers(0, 2**chosen.bits, shape, dtype=chosen.store.dtype)
    torch.onnx.export(
        module,
        (torch.from_numpy(images),),
        path,
        input_names=["images"],
        output_names=["probabilities", "features"],
        dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images})[0]
    with torch.no_grad():
        expected = module(torch.from_numpy(images))[0].numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= PARITY:
        raise RuntimeError(f"{path}: ONNX's probabilities differ from PyTorch's by {difference:.2g}")
    return difference


def _facts(chosen: Chosen) -> dict[str, Any]:
    from trainables.data.preparing.pixel_recipe import PixelRecipe

    return {
        "classes": list(chosen.final.classes),
        "positive": list(chosen.final.positive),
        "positive_rule": list(chosen.config.get("positive") or ()),
        "rules": {name: list(own) for name, own in chosen.store.rules.items() if set(own) <= {*chosen.final.classes}},
        "several_labels": chosen.config.get("target") == "labels",
        "image_size": list(chosen.store.image_size),
        "channels": chosen.store.channels,
        "dtype": chosen.store.dtype,
        "input": PixelRecipe.of(chosen.store).written(),
        "head": chosen.head,
        "encoder": chosen.config["encoder"],
        "trial": chosen.trial.entry.name,
        "trial_id": chosen.trial.entry.trial_id,
        "sweep": chosen.part.sweep.name,
        "data_set": chosen.store.name,
        "licence": chosen.store.licence,
    }


def _card(chosen: Chosen) -> str:
    import jinja2

    from trainables.config import SimCLRConfig
    from trainables.models.inference import HEADS

    config = SimCLRConfig.parse(chosen.config)
    plain = config.width_factor == 1.0 and not config.small_stem and config.encoder in TORCHVISION
    departure = "starts with a 3 x 3 convolution" if config.small_stem else "isn't as wide or deep as any of its own"
    side = f"{config.image_size} x {config.image_size}"
    crop = "the central 0.875 is cut out and " if config.image_size > 32 else ""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_card.md.j2").render(
        name=chosen.trial.entry.name,
        data=f"{chosen.config['dataset']} ({chosen.final.train_images:,} images)",
        head_words=HEADS[chosen.head],
        several=config.target == "labels",
        classes=chosen.final.classes,
        positive=chosen.final.positive,
        size=chosen.store.image_size,
        channels=chosen.store.channels,
        bits=chosen.bits,
        dtype=chosen.store.dtype,
        preprocessing=f"({crop}resized to {side} by bicubic interpolation, scaled to 0 ... 1)",
        torchvision=config.encoder if plain else "",
        encoder=config.encoder,
        departure=departure,
        metrics=_metrics(chosen),
        limits=_limits(chosen),
        config={name: value for name, value in chosen.config.items() if value not in (None, [], ())},
        store=_data_sentence(chosen.store),
        trial_id=chosen.trial.entry.trial_id,
        sweep=chosen.part.sweep.name,
        versions=", ".join(f"{name} {version}" for name, version in chosen.final.versions.items()),
        command=chosen.part.trials[chosen.trial.entry.trial_id].command,
    )


def _metrics(chosen: Chosen) -> list[dict[str, str]]:
    from sweep.comparison.dataset_report import number, span
    from sweep.comparison.image_metrics import sampling_interval

    shown = []
    for metric, value in chosen.trial.result.metrics.items():
        split, _, name = metric.partition("/")
        if split != "test" or "_at_" in name or name.startswith("linear_") != (chosen.head == "linear"):
            continue
        own = chosen.part.outputs_of_trial(chosen.trial.entry, metric)
        shown.append(
            {
                "metric": metric,
                "value": number(metric, value),
                "images": span(metric, sampling_interval(metric, [own]) if own is not None else None),
                "mean": number(metric, chosen.row.mean(metric)) if len(chosen.row.finished) > 1 else "",
                "seeds": span(metric, chosen.row.interval(metric)),
            }
        )
    return shown


def _limits(chosen: Chosen) -> list[str]:
    from sweep.comparison.terminal_table import SMOKE_NOTICE
    from sweep.space import SELECTED_ON_TEST

    sweep = chosen.part.sweep
    sentences = [*chosen.part.answer, *sweep.caveats]
    if sweep.smoke:
        sentences.insert(0, SMOKE_NOTICE)
    if sweep.selected_on == "test":
        sentences.append(SELECTED_ON_TEST)
    if leaks := chosen.store.leaks.described():
        sentences.append(leaks)
    return [*sentences, f"Made for images like those of {chosen.store.data_set}; nothing is known of others."]


def _data_sentence(store: "StoreInfo") -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in store.splits.items())
    return f"{store.data_set} from {store.source}; {splits} images; licence: {store.licence}.\n"


def check_libraries() -> None:
    """Raise BadInputError for a library that exports need and that isn't installed."""
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise BadInputError(f"{library}: isn't installed, and exports need it: pip install 'sweep-service[export]'")
