"""Export of a trial as files: weights, ONNX, facts and a model card.

encoder.safetensors   the encoder under torchvision's names, and its view of images; trainables.load_encoder reads it
model.onnx            images to probabilities or a number, and features; needs onnxruntime alone
model.json            classes, sizes and origin
MODEL_CARD.md         purpose, metrics and limits, from the records
"""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.console.output_files import check_outputs
from sweep.deployment.model_card import model_card
from sweep.deployment.onnx_export import write_onnx
from sweep.deployment.trial_choice import ChosenTrial
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_storage import SweepStorage

FILES = ("encoder.safetensors", "model.onnx", "model.json", "MODEL_CARD.md")
LIBRARIES = ("safetensors", "onnx", "onnxruntime", "onnxscript")


def write(chosen: ChosenTrial, storage: "SweepStorage", folder: Path) -> float:
    """Write the files into a new folder; return the maximum difference of outputs between ONNX and PyTorch.

    Raises:
        BadInputError: The folder can't be written.
        RuntimeError: ONNX's outputs differ from PyTorch's.
    """
    from safetensors.torch import save

    from trainables.models.inference import deployed, exported_state

    state = storage.trial_of(chosen.trial.entry).load_model()
    module = deployed(
        state, size=chosen.store.image_size, bits=chosen.bits, head=chosen.head, number=chosen.final.number
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "encoder.safetensors").write_bytes(save(exported_state(state, chosen.store.image_size)))
        difference = write_onnx(module, chosen, folder / "model.onnx")
        (folder / "model.json").write_text(json.dumps(_facts(chosen), indent=1) + "\n")
        (folder / "MODEL_CARD.md").write_text(model_card(chosen, storage), encoding="utf-8")
    except OSError as error:
        raise BadInputError(
            f"--output {folder}: can't be written ({error.strerror or error}); choose another"
        ) from error
    return difference


def check_folder(folder: Path, chosen: ChosenTrial, storage: "SweepStorage", *, overwrite: bool) -> None:
    """Raise BadInputError if a folder is the storage's, or contains anything but an earlier export of the trial."""
    storage.check_not_own("--output", folder)
    check_outputs(
        [folder / name for name in FILES],
        overwrite=overwrite,
        is_own=lambda: json.loads((folder / "model.json").read_text())["trial_id"] == chosen.trial.entry.trial_id,
        otherwise="is not from an export of this trial",
    )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadInputError(f"{folder}: isn't a folder; choose another --output")


def _facts(chosen: ChosenTrial) -> dict[str, Any]:
    from trainables.data.preparing.pixel_recipe import PixelRecipe

    return {
        "classes": list(chosen.final.classes),
        "positive": list(chosen.final.positive),
        "positive_rule": list(chosen.config.get("positive") or ()),
        "rules": {name: list(own) for name, own in chosen.store.rules.items() if set(own) <= {*chosen.final.classes}},
        "several_labels": chosen.config.get("target") == "labels",
        "number": _number(chosen),
        "image_size": list(chosen.store.image_size),
        "channels": chosen.store.channels,
        "bands": [band.model_dump(exclude_defaults=True) for band in chosen.store.channel_bands],
        "dtype": chosen.store.dtype,
        "input": PixelRecipe.of(chosen.store).written(),
        "head": chosen.head,
        "encoder": chosen.config["encoder"],
        "trial": chosen.trial.entry.name,
        "trial_id": chosen.trial.entry.trial_id,
        "sweep": chosen.sweep.name,
        "data_set": chosen.store.name,
        "licence": chosen.store.licence,
    }


def _number(chosen: ChosenTrial) -> dict[str, Any] | None:
    """Return the number that the model predicts, with its statistics in training if they are known."""
    if not chosen.predicts_number:
        return None
    learned = chosen.final.number
    values = {} if learned is None else learned.model_dump(include={"least", "largest", "mean", "deviation"})
    return {"name": chosen.store.number, "label_set": chosen.store.name, **values}


def check_libraries() -> None:
    """Raise BadInputError if a library that exports need isn't installed."""
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise BadInputError(
                f"{library}: isn't installed and is needed for exports: pip install 'sweep-service[export]'"
            )
