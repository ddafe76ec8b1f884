"""Batch prediction with an exported model: a folder of images in, a table out; without torch and Ray."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from sweep.console.app import progress
from sweep.console.output_files import check_outputs
from sweep.console.printing import say
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.pixels import fit
from trainables.data.sources.decode import IMAGE_SUFFIXES, OTHER_IMAGES, decode_any
from trainables.data.sources.file_tree import FileTree, open_tree
from trainables.data.sources.layout import file_of
from trainables.errors import BadInputError
from trainables.evaluation.multilabel import HALF
from trainables.printable_text import csv_cell, printable

BATCH = 64
SOME_LEFT_OUT = 1
"""Exit code of a command whose table lacks some images."""
LISTED = 20
"""Maximum number of skipped images whose reasons are printed."""
FACTS_BYTES = 16 * 2**20
"""Maximum bytes of a model.json, which usually has a few kilobytes."""
SUFFIXES = (".parquet", ".csv")
PROBABILITIES, NUMBERS = "probabilities", "numbers"
"""Names of the ONNX model's first output."""
PREDICTED = "predicted"
"""The table's column of predicted numbers."""
OWN_COLUMNS = (["path", "label"], ["path", PREDICTED], ["path", "features"])
"""First columns of the tables that are written here."""


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

    def __call__(self, images: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Classify images, or predict their number.

        Args:
            images: (N, H, W, C), as `pixels` returns them.

        Returns:
            Probabilities (N, K) or numbers (N, 1), and features (N, F), all float32.
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
                f"{printable(name)}: has {image.shape[2]} channels of {image.dtype}, the model takes {wanted[0]} of "
                f"{wanted[1]}, prepared as {self.facts['data_set']} was"
            )
        return image

    def labels(self, probabilities: NDArray[np.float32]) -> list[str]:
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


Describe = Callable[[DeployedModel, Sequence[str], NDArray[np.generic]], pa.Table]
"""Function from a model, image names and images to a table with one row per image."""


@dataclass(frozen=True)
class FolderPredictions:
    """Result of a prediction over the images of a folder."""

    images: int
    """Number of images in the table."""
    left_out: dict[str, str]
    """Reasons of skipped images, by name."""
    other_files: int
    """Number of files that aren't images."""

    def said(self) -> Iterator[str]:
        """Yield one line for each of the first skipped images, and their number."""
        if self.other_files:
            yield f"note: {self.other_files:,} files that are no images were ignored"
        if self.left_out:
            yield f"error: {len(self.left_out):,} of {len(self.left_out) + self.images:,} images were left out:"
            yield from (f"  {reason}" for reason in list(self.left_out.values())[:LISTED])
        if len(self.left_out) > LISTED:
            yield f"  and {len(self.left_out) - LISTED:,} more"


def apply(
    model: Path,
    source: Path,
    output: Path,
    describe: Describe,
    *,
    suffixes: Sequence[str] = SUFFIXES,
    overwrite: bool = False,
) -> FolderPredictions:
    """Write a table of all images of a folder or zip, in bounded memory and with progress; return the counts.

    Unreadable or unsuitable images are skipped with their reasons.

    Args:
        model: Folder of an exported model.
        source: Folder or zip with images.
        output: Path of the table.
        describe: Function that returns the table of a batch of images.
        suffixes: Allowed suffixes of `output`.
        overwrite: Whether a file of another program at `output` is replaced.

    Raises:
        BadInputError: All images are skipped, or the table can't be written; no file is written then.
    """
    if output.suffix not in suffixes:
        raise BadInputError(f"--output {output}: must end in {' or '.join(suffixes)}")
    if not output.parent.is_dir():
        raise BadInputError(f"--output {output}: no such folder: {output.parent}")
    check_outputs([output], overwrite=overwrite, is_own=lambda: _is_table(output))
    opened, tree = DeployedModel.open(model), open_tree(source)
    names = [name for name in tree.names() if name.lower().endswith(IMAGE_SUFFIXES)]
    if not names:
        raise BadInputError(f"{source}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    others = [name for name in tree.names() if name.lower().endswith(OTHER_IMAGES)]
    left_out = {name: f"{printable(name)}: its kind is not supported; convert it to PNG or TIFF" for name in others}
    with progress("images", len(names)) as advance:

        def tables() -> Iterator[pa.Table]:
            for start in range(0, len(names), BATCH):
                part = names[start : start + BATCH]
                read = _readable(opened, tree, part, left_out)
                if read:
                    yield describe(opened, list(read), np.stack(list(read.values())))
                advance(len(part))

        _write(tables(), output, left_out)
    images = len(names) - len(left_out) + len(others)
    return FolderPredictions(images, left_out, len(tree.names()) - len(names) - len(others))


def _readable(
    model: DeployedModel, tree: FileTree, names: Sequence[str], left_out: dict[str, str]
) -> dict[str, NDArray[np.generic]]:
    """Return the readable images by name, and add the others to `left_out` with their reasons."""
    found = {}
    for name in names:
        try:
            found[name] = model.pixels(tree, name)
        except BadInputError as error:
            left_out[name] = str(error)
    return found


def finish(applied: FolderPredictions, output: Path) -> None:
    """Print the result; exit with code 1 if images were skipped."""
    for line in applied.said():
        say(line, error=True)
    say(f"{applied.images:,} images: {output.absolute()}")
    if applied.left_out:
        raise typer.Exit(SOME_LEFT_OUT)


def _is_table(output: Path) -> bool:
    """Return whether a file is a table that `apply` wrote."""
    if output.suffix == ".csv":
        with output.open(encoding="utf-8") as file:
            header = file.readline(100)
            return header.startswith("path,label,p(") or header.strip() == f"path,{PREDICTED}"
    with output.open("rb") as opened:
        return pq.read_schema(opened).names[:2] in OWN_COLUMNS


def _write(tables: Iterator[pa.Table], output: Path, left_out: Mapping[str, str]) -> None:
    """Write the tables to one Parquet or CSV file, by its suffix; the file appears only when complete."""
    partial = output.with_name(f"{output.name}.partial")
    first = next(tables, None)
    if first is None:
        reasons = list(left_out.values())
        raise BadInputError(f"no image can be used: {reasons[0]}", *reasons[1:LISTED])
    try:
        if output.suffix == ".parquet":
            # Opened here, since Arrow rejects paths that aren't UTF-8.
            with partial.open("wb") as opened, pq.ParquetWriter(opened, first.schema) as writer:
                for table in chain([first], tables):
                    writer.write_table(table)
        else:
            with partial.open("w", newline="", encoding="utf-8") as file:
                sheet = csv.writer(file)
                sheet.writerow(map(csv_cell, first.column_names))
                for table in chain([first], tables):
                    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
                    sheet.writerows(map(csv_cell, row) for row in rows)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
