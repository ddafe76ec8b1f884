"""Batch prediction with an exported model: images of a folder or a prepared data set in, a table out."""

import csv
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from sweep.console.app import progress
from sweep.console.formatting import plural
from sweep.console.output_files import check_outputs
from sweep.console.printing import say
from sweep.deployment.exported_model import BATCH, PREDICTED, DeployedModel
from sweep.deployment.predicted_images import open_images
from trainables.errors import BadInputError
from trainables.printing.printable_text import csv_cell

SOME_LEFT_OUT = 1
"""Exit code of a command whose table lacks some images."""
LISTED = 20
"""Maximum number of skipped images whose reasons are printed."""
SUFFIXES = (".parquet", ".csv")
OWN_COLUMNS = (["path", "label"], ["path", PREDICTED], ["path", "features"])
"""First columns of the tables that this module writes."""

Describe = Callable[[DeployedModel, Sequence[str], NDArray[np.generic]], pa.Table]
"""Function from a model, image names and images to a table with one row per image."""


@dataclass(frozen=True)
class BatchPredictions:
    """Result of a prediction over the images of a folder or a data set."""

    images: int
    """Number of images in the table."""
    left_out: dict[str, str]
    """Reasons of skipped images, by name."""
    other_files: int
    """Number of files that aren't images."""

    def said(self) -> Iterator[str]:
        """Yield one line for each of the first skipped images, and their number."""
        if self.other_files:
            yield f"note: ignored files that aren't images: {self.other_files:,}"
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
) -> BatchPredictions:
    """Write a table of all images, in bounded memory and with progress; return the counts.

    Unreadable or unsuitable images are skipped with their reasons.

    Args:
        model: Folder of an exported model.
        source: Folder or zip with images, or the name of a prepared data set.
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
    opened = DeployedModel.open(model)
    images = open_images(opened, source)
    left_out = dict(images.unsupported)
    with progress("images", len(images.names)) as advance:

        def tables() -> Iterator[pa.Table]:
            for start in range(0, len(images.names), BATCH):
                part = range(start, min(start + BATCH, len(images.names)))
                read = images.read(part, left_out)
                if read:
                    yield describe(opened, list(read), np.stack(list(read.values())))
                advance(len(part))

        _write(tables(), output, left_out)
    count = len(images.names) - len(left_out) + len(images.unsupported)
    return BatchPredictions(count, left_out, images.other_files)


def finish(applied: BatchPredictions, output: Path) -> None:
    """Print the result; exit with code 1 if images were skipped."""
    for line in applied.said():
        say(line, error=True)
    say(f"{plural(applied.images, 'image')}: {output.absolute()}")
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
    partial = output.with_name(f".{secrets.token_hex(8)}.partial")  # random: two commands may write the same table
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
    except OSError as error:
        why = error.strerror or str(error)
        raise BadInputError(f"--output {output}: can't be written ({why}); choose another") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
