"""Splits of Parquet rows: by file path, as the Hugging Face hub names files, or by a column."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from trainables.data.sources.source import some_names
from trainables.data.split_names import named_split, splits_in
from trainables.errors import BadInputError

WAYS_OUT = "rename it, name a column of splits with --column split=NAME, or choose --splits random"


def split_of_path(relative: str) -> str | None:
    """Return the split in a file's name or parent folder (train-00000-of-00001, pets-train, train/0000), or None.

    Args:
        relative: Path below the source.

    Raises:
        BadInputError: The path contains two splits.
    """
    path = PurePosixPath(relative)
    said = splits_in(path.stem) | {split for folder in path.parts[:-1] if (split := named_split(folder))}
    if len(said) > 1:
        raise BadInputError(f"{relative}: its path names several splits ({', '.join(sorted(said))}); {WAYS_OUT}")
    return next(iter(said), None)


def splits_of_paths(where: str, relatives: Iterable[str]) -> dict[str, str]:
    """Return the split of each file; empty if no path has one, BadInputError if only some have one."""
    splits = {relative: split_of_path(relative) for relative in relatives}
    named = {relative: split for relative, split in splits.items() if split}
    unnamed = sorted(splits.keys() - named.keys())
    if named and unnamed:
        raise BadInputError(
            f"{where}: {some_names(unnamed)}: names no split, and {some_names(sorted(named))} does; {WAYS_OUT}"
        )
    return named


def splits_of_values(where: str, column: str, values: Iterable[object], *, asked: bool) -> Mapping[object, str] | None:
    """Return the split of each value of a column; None if no value is a split and the column wasn't requested.

    Args:
        where: Source, for error messages.
        column: Name of the column.
        values: All values of the column.
        asked: Whether the user requested the column.

    Raises:
        BadInputError: A value is no split, although others are or the column was requested.
    """
    found = {value: named_split(str(value)) if isinstance(value, str) else None for value in set(values)}
    known = {value: split for value, split in found.items() if split}
    if len(known) < len(found) and (known or asked):
        other = next(repr(value) for value, split in found.items() if split is None)
        raise BadInputError(
            f"{where}: column {column!r}: {other} is none of train, validation, test; correct it, or choose "
            "--splits random"
        )
    return known or None
