"""Numbers in a table's label column: which texts are numbers, and which columns of numbers can be learned."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.data.sources.table import TableRow
from trainables.errors import BadInputError
from trainables.printing.close_numbers import in_range, range_text

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
LARGEST_NUMBER = 1e15
"""Largest absolute value of a number, so that its square is no infinity in 32 bits."""
MISSING_MARKS = (-9999.0, -99999.0, -999.0, -32768.0)
"""Numbers that programs write for a missing one."""


def number_of(row: TableRow) -> float | None:
    """Return a row's number; None for an empty cell, BadInputError for another text."""
    if row.labels is None:
        return None
    text = row.labels[0]
    if not NUMBER.fullmatch(text):
        remedy = (
            "write decimals after a point, and thousands without a comma"
            if DECIMAL_COMMA.fullmatch(text)
            else "correct it"
        )
        raise BadInputError(f"{row.where}: {text!r} is not a number; {remedy}, or leave the cell empty")
    if abs(value := float(text)) > LARGEST_NUMBER:
        raise BadInputError(f"{row.where}: {text!r} is larger than {LARGEST_NUMBER:g}; take another unit")
    return value


def fraction_of(texts: Sequence[str]) -> str | None:
    """Return the first fraction among labels that are all numbers; None if one isn't, or all are whole."""
    if not all(NUMBER.fullmatch(text) or DECIMAL_COMMA.fullmatch(text) for text in texts):
        return None
    return next((text for text in texts if DECIMAL_COMMA.fullmatch(text) or float(text) % 1.0), None)


def number_summary(table: Path, column: str, values: Sequence[float], written: Sequence[float]) -> str:
    """Return the range of a column's numbers in words; BadInputError if all are equal.

    Args:
        table: File of the table.
        column: Name of the column.
        values: Number of each labelled image.
        written: Numbers as written in the table, of which an image may have the mean of several.
    """
    if not values:
        return ""
    deviation = float(np.std(values))
    if min(values) == max(values) or deviation == 0.0:
        raise BadInputError(
            f"{table}: column {column!r} has one number, {values[0]:g}, for all images of the store that it labels, so "
            "there is nothing to learn; name the column of the number with --column label=NAME"
        )
    low, high = min(values), max(values)
    mean = in_range(float(np.mean(values)), low, high)
    spread = f"{range_text(low, high)}, mean {mean}, deviation {deviation:.4g}"
    marks = {mark: written.count(mark) for mark in MISSING_MARKS if mark in written}
    unsure = "".join(f"; {mark:g} (rows: {count:,}) may stand for a missing number" for mark, count in marks.items())
    return f"a number per image, {column!r}: {spread}{unsure}"
