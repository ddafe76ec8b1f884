"""Exported model: images in, probabilities or numbers and features out; without torch and Ray."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweep.console.formatting import plural
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.pixels import fit
from trainables.data.sources.decode import decode_any
from trainables.data.sources.file_tree import FileTree
from trainables.data.sources.layout import file_of
from trainables.errors import BadInputError
from trainables.evaluation.multilabel import HALF
from trainables.printing.printable_text import printable

BATCH = 64
FACTS_BYTES = 16 * 2**20
"""Maximum bytes of a model.json, which usually has a few kilobytes."""
PROBABILITIES, NUMBERS = "probabilities", "numbers"
"""Names of the ONNX model's first output."""
PREDICTED = "predicted"
"""The table's column of predicted numbers."""


@dataclass(frozen=True)
class DeployedModel:
    """Exported model, opened from the folder that `sweep.export` wrote."""

    folder: Path
    facts: dict[str, Any]
    """Content of model.json."""

    @classmethod
    def open(cls, folder: Path) -> "DeployedModel":
        """Open a folder; BadInputError if it contains no exported model."""
        for name in ("model.json", "model.onnx"):
            if not (folder / name).is_file():
                raise BadInputError(f"{folder}: has no {name}; give a folder that python -m sweep.export wrote")
        path = folder / "model.json"
        try:
            with path.open("rb") as file:
                content = file.read(FACTS_BYTES + 1)
            facts = json.loads(content) if len(content) <= FACTS_BYTES else None
        except (OSError, ValueError, RecursionError) as error:
            raise BadInputError(f"{path}: can't be read ({error}); export the model again") from error
        if not isinstance(facts, dict):
            raise BadInputError(f"{path}: isn't what python -m sweep.export wrote; export the model again")
        return cls(folder, facts)

    @property
    def classes(self) -> list[str]:
        """Return the class names, in the order of the probabilities."""
        return list(self.facts["classes"])

    @property
    def number(self) -> dict[str, Any] | None:
        """Return name, label set and known values of the number that is predicted; None for a classifier."""
        found: dict[str, Any] | None = self.facts.get("number")
        return found

    @property
    def number_title(self) -> str:
        """Return the number's name and its label set: tons (pool.yield)."""
        assert self.number is not None
        return f"{self.number['name']} ({self.number['label_set']})"

    @cached_property
    def recipe(self) -> PixelRecipe:
        """Return the recipe of the pixels in the model's data set; empty for exports of earlier versions."""
        fields = self.facts.get("input")
        return PixelRecipe() if fields is None else PixelRecipe.read(fields)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(self.folder / "model.onnx", providers=onnxruntime.get_available_providers())

    def __call__(self, images: NDArray[np.generic]) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
        """Classify images, or predict their number.

        Args:
            images: (N, H, W, C), as `pixels` returns them.

        Returns:
            Probabilities (N, K) or numbers (N, 1), and features (N, F). Numbers are float64, in exports of earlier
            versions float32; the others are float32.
        """
        first = PROBABILITIES if self.number is None else NUMBERS
        outputs, features = self._session.run([first, "features"], {"images": images})
        return outputs, features

    def pixels(self, tree: FileTree, name: str) -> NDArray[np.generic]:
        """Return an image as model input: read, cropped, resized and made 8 bits as in its data set's preparation.

        Raises:
            BadInputError: The file can't be decoded, or its channels or bits differ from the model's.
        """
        image = decode_any(file_of(tree, name), self.recipe.reading)
        height, width = self.facts["image_size"]
        if image.shape[:2] != (height, width):
            if height != width:
                found = f"{image.shape[1]} x {image.shape[0]}"
                raise BadInputError(f"{printable(name)}: is {found} px, the model takes {width} x {height}")
            image = fit(image, height)
        measured = self.recipe.rule in ("thesis", "percentiles", "reflectance") and image.dtype == np.uint16
        if measured and image.shape[2] == self.facts["channels"]:
            image = self.recipe.conversion(height, found="uint16", wanted=self.facts["dtype"])(image)
        wanted = (self.facts["channels"], self.facts["dtype"])
        if (image.shape[2], str(image.dtype)) != wanted:
            raise BadInputError(
                f"{printable(name)}: has {plural(image.shape[2], 'channel')} of {image.dtype}, "
                f"the model takes {wanted[0]} of {wanted[1]}, prepared as {self.facts['data_set']} was"
            )
        return image

    def labels(self, probabilities: NDArray[np.floating]) -> list[str]:
        """Return each image's class; for multi-label models, the labels above 0.5, joined by semicolons."""
        if not self.facts["several_labels"]:
            return [self.classes[k] for k in probabilities.argmax(axis=1)]
        return ["; ".join(self.classes[k] for k in np.flatnonzero(row >= HALF)) for row in probabilities]

    def prediction(self, names: Sequence[str], images: NDArray[np.generic]) -> pa.Table:
        """Return one row per image: path, label, and each class's probability; or path and predicted number."""
        probabilities, _ = self(images)
        if self.number is not None:
            return pa.table({"path": list(names), PREDICTED: probabilities[:, 0]})
        columns = {f"p({name})": probabilities[:, k] for k, name in enumerate(self.classes)}
        return pa.table({"path": list(names), "label": self.labels(probabilities), **columns})

    def embedding(self, names: Sequence[str], images: NDArray[np.generic]) -> pa.Table:
        """Return one row per image: path and features (F,)."""
        _, features = self(images)
        values = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
        return pa.table({"path": list(names), "features": values})
