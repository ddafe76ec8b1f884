"""Which split the rows of a Parquet file are of: by its path, as the Hugging Face hub names files, or by a column."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from trainables.data.sources.source import some_names
from trainables.data.split_names import named_split, splits_in
from trainables.errors import BadInputError

WAYS_OUT = "rename it, name a column of splits with --column split=NAME, or choose --splits random"


def split_of_path(relative: str) -> str | None:
    """Return the split that a file's name or a folder above it says: train-00000-of-00001, pets-train, train/0000.

    `relative` is its path below the source. BadInputError where it says two.
    """
    path = PurePosixPath(relative)
    said = splits_in(path.stem) | {split for folder in path.parts[:-1] if (split := named_split(folder))}
    if len(said) > 1:
        raise BadInputError(f"{relative}: its path names several splits ({', '.join(sorted(said))}); {WAYS_OUT}")
    return next(iter(said), None)


def splits_of_paths(where: str, relatives: Iterable[str]) -> dict[str, str]:
    """Return the split of each file, of all or of none; BadInputError where only some of the paths say one."""
    splits = {relative: split_of_path(relative) for relative in relatives}
    named = {relative: split for relative, split in splits.items() if split}
    unnamed = sorted(splits.keys() - named.keys())
    if named and unnamed:
        raise BadInputError(
            f"{where}: {some_names(unnamed)}: names no split, and {some_names(sorted(named))} does; {WAYS_OUT}"
        )
    return named


def splits_of_values(where: str, column: str, values: Iterable[object], *, asked: bool) -> Mapping[object, str] | None:
    """Return the split that each value of a column stands for; None where they stand for none and nobody asked.

    BadInputError for a value that is none, where others are or the column was asked for.
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
