"""Splits of Parquet rows: by file path, as the Hugging Face hub names files, or by a column."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from trainables.data.sources.source import some_names
from trainables.data.split_names import SPLIT_OF, named_split, splits_in, tokens, two_words
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
            f"{where}: {some_names(unnamed)}: names no split, but {some_names(sorted(named))} does; {WAYS_OUT}"
        )
    for split in set(named.values()):
        words = {path: _words(path, split) for path, own in named.items() if own == split}
        first, *others = sorted(words)
        if other := next((path for path in others if words[path].isdisjoint(words[first])), None):
            raise BadInputError(f"{where}: {first} and {other} name the {split} split by two words; {WAYS_OUT}")
    return named


def _words(relative: str, split: str) -> set[str]:
    """Return the words of a path that name a split."""
    return {word for part in PurePosixPath(relative).parts for word in tokens(part) if SPLIT_OF.get(word) == split}


def splits_of_values(where: str, column: str, values: Iterable[object], *, asked: bool) -> Mapping[object, str] | None:
    """Return the split of each value of a column; None if it is empty (null) and wasn't requested.

    Args:
        where: Source, for error messages.
        column: Name of the column.
        values: All values of the column.
        asked: Whether the user requested the column.

    Raises:
        BadInputError: A value is no split, or two words name one split.
    """
    found = {value: named_split(str(value)) if isinstance(value, str) else None for value in set(values)}
    known = {value: split for value, split in found.items() if split}
    if len(known) < len(found) and (asked or set(found) != {None}):
        other = next(repr(value) for value, split in found.items() if split is None)
        raise BadInputError(
            f"{where}: column {column!r}: {other} is none of train, validation, test; correct it, or choose "
            "--splits random"
        )
    if known and (twice := two_words({str(value): split for value, split in known.items()})):
        raise BadInputError(
            f"{where}: column {column!r}: {' and '.join(map(repr, twice[1]))} both name the {twice[0]} split; write "
            "one word for it, or choose --splits random"
        )
    return known or None
