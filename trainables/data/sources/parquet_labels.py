"""Labels in a Parquet column of any supported Arrow type: numbers, texts, lists of them, or lists of flags."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from trainables.data.sources.hub_metadata import HubNames, hub_names
from trainables.data.sources.missing_labels import is_missing
from trainables.errors import BadInputError

LISTS = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
FLAGS = frozenset((0, 1))
NO_LABEL = "no label; give it one, remove the row, or leave such rows out with --skip-corrupt"


@dataclass(frozen=True)
class LabelColumn:
    """Label column of one file: its type, and the class names that the hub stores for numeric labels."""

    where: str
    several: bool
    """Whether each row has a list of labels."""
    numbers: bool
    """Whether labels are numbers or flags instead of texts."""
    whole: bool
    """Whether labels are integers, which can be class indices."""
    kind: str
    """What the labels are, in words; empty if all are null."""
    hub: HubNames

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by number; empty if the metadata has none."""
        return self.hub.names

    @classmethod
    def of(cls, where: str, schema: Any, column: str) -> "LabelColumn":
        """Return the label column of a file's schema; BadInputError for a type that can't contain labels."""
        kind = _plain(schema.field(column).type)
        several = _is_list(kind)
        inner = _plain(kind.value_type) if several else kind
        text = is_text(inner)
        whole = pa.types.is_integer(inner)
        if not (text or whole or pa.types.is_boolean(inner) or pa.types.is_floating(inner) or pa.types.is_null(inner)):
            raise BadInputError(
                f"{where}: column {column!r} holds {kind}; labels are numbers, texts, or lists of them: name another "
                "column with --column label=NAME"
            )
        kind = "texts" if text else "true and false" if pa.types.is_boolean(inner) else "numbers"
        kind = "" if pa.types.is_null(inner) else kind
        return cls(where, several, not text, whole, kind, hub_names(where, schema, column, text=text))


@dataclass
class ListProperties:
    """Properties of all label lists of a column, by which flags (0 and 1) are told from class indices."""

    lengths: set[int] = field(default_factory=set)
    values: set[Any] = field(default_factory=set)
    repeats: bool = False
    """Whether a list contains a value twice, as flags do and class indices don't."""

    def add(self, row: Any) -> None:
        """Add a row's labels."""
        if isinstance(row, list):
            self.lengths.add(len(row))
            self.repeats = self.repeats or len(set(row)) < len(row)
        self.values.update(one for one in (row if isinstance(row, list) else [row]) if not _missing(one))


@dataclass(frozen=True)
class LabelReader:
    """Reader of the labels of all files: their classes, and whether lists are flags."""

    class_names: tuple[str, ...]
    several: bool
    flags: bool
    named: bool
    """Whether numbers are class indices with names; False: the numbers themselves are the class names."""
    doubt: str = ""
    """Why the metadata of a file isn't used; empty if it is, or if there is none."""

    def told(self) -> str:
        """Return the origin of the classes in words."""
        how = "names in the metadata" if self.named else "the labels that occur"
        how = "the places in lists of flags (0 and 1)" if self.flags else how
        return f"{len(self.class_names):,} by {how}" + (f"; {self.doubt}" if self.doubt else "")

    def labels(self, value: Any, where: str) -> tuple[str, ...] | None:
        """Return the class names of a row's labels; None if it is unlabelled (null, NaN or an empty text).

        Args:
            value: Cell of the label column.
            where: File and row, for error messages.

        Raises:
            BadInputError: An empty list, a list with nulls, or an unknown label.
        """
        if not isinstance(value, list) and _missing(value):
            return None
        values = value if isinstance(value, list) else [value]
        if any(_missing(one) for one in values):
            raise BadInputError(f"{where}: {NO_LABEL}")
        if self.flags:
            values = [place for place, flag in enumerate(values) if flag]
        if not values:
            raise BadInputError(f"{where}: {NO_LABEL}")
        if self.named and not self.flags:
            values = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values]
        if not (self.flags or self.named):
            if fractions := [one for one in values if isinstance(one, float) and not one.is_integer()]:
                raise BadInputError(
                    f"{where}: label {fractions[0]!r}: a fraction is no class; write classes as texts, or attach "
                    "numbers to a pool with python -m sweep.data label --number"
                )
            return tuple(str(one) for one in values)
        for one in values:
            if not isinstance(one, int) or not 0 <= one < len(self.class_names):
                hidden = " (-1 is the hub's sign for a label that isn't published)" if one == -1 else ""
                raise BadInputError(
                    f"{where}: label {one!r} is none of 0 to {len(self.class_names) - 1}, which the metadata "
                    f"names{hidden}"
                )
        return tuple(self.class_names[one] for one in values)


def label_reader(columns: Sequence[LabelColumn], rows: Iterable[Any]) -> LabelReader:
    """Return the label reader of all files.

    Args:
        columns: Label column of each file.
        rows: Labels of all rows of all files.

    Raises:
        BadInputError: Files contradict each other, or lists can be read as flags and as class indices.
    """
    _refuse_other_kinds(columns)
    names, several = _shared_names(columns), columns[0].several
    doubt = next((f"{column.hub.doubt} ({column.where})" for column in columns if column.hub.doubt), "")
    seen = ListProperties()
    for row in rows:
        seen.add(row)
    if several and _are_flags(columns, seen):
        (length,) = seen.lengths
        if names and len(names) != length:
            raise BadInputError(f"{columns[0].where}: lists of {length} flags, but {len(names)} class names")
        return LabelReader(names or tuple(map(str, range(length))), several, flags=True, named=bool(names), doubt=doubt)
    return LabelReader(names or _occurring(seen.values), several, flags=False, named=bool(names), doubt=doubt)


def _refuse_other_kinds(columns: Sequence[LabelColumn]) -> None:
    for column in columns:
        if column.kind and columns[0].kind and column.kind != columns[0].kind and not column.several:
            raise BadInputError(
                f"{columns[0].where}: labels are {columns[0].kind}, but {column.where}: {column.kind}; give one kind"
            )
        if column.several != columns[0].several:
            kinds = ("a list of labels", "one label")
            first, second = kinds if columns[0].several else kinds[::-1]
            raise BadInputError(f"{columns[0].where}: {first} per row, but {column.where}: {second}; give one kind")


def _shared_names(columns: Sequence[LabelColumn]) -> tuple[str, ...]:
    """Return the class names of all files by index; BadInputError if one index has two names."""
    longest = max(columns, key=lambda column: len(column.names))
    for column in columns:
        if longest.names and not column.names:
            raise BadInputError(
                f"{column.where}: its labels have no names, but those of {longest.where} do; take files of one origin"
            )
        for number, (own, other) in enumerate(zip(column.names, longest.names, strict=False)):
            if own != other:
                raise BadInputError(
                    f"{column.where}: label {number} is {own!r}, in {longest.where} it is {other!r}; give all files "
                    "the same names in the same order"
                )
    return longest.names


def _are_flags(columns: Sequence[LabelColumn], seen: ListProperties) -> bool:
    """Whether lists are flags, one per class: all of one length, and only 0 and 1."""
    where, numbers = columns[0].where, all(column.numbers for column in columns)
    alike = len(seen.lengths) == 1 and max(seen.lengths) > 1 and seen.values <= FLAGS
    if not all(column.whole for column in columns) and numbers and seen.values:
        if alike:
            return True
        raise BadInputError(
            f"{where}: lists of {'fractions' if seen.values - FLAGS else 'flags of several lengths'} aren't labels; "
            "write lists with 0 or 1 for each class, or lists of class numbers"
        )
    if numbers and alike and not seen.repeats:
        raise BadInputError(
            f"{where}: lists of two, 0 and 1, may be flags or class numbers; write flags as true and false"
        )
    return numbers and alike


def _occurring(values: set[Any]) -> tuple[str, ...]:
    """Return the distinct labels in order, numbers numerically."""
    numbers = all(isinstance(value, int) for value in values)
    return tuple(dict.fromkeys(str(value) for value in sorted(values, key=None if numbers else str)))


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds texts."""
    kind = _plain(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _plain(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_list(kind: Any) -> bool:
    return any(getattr(pa.types, f"is_{name}")(kind) for name in LISTS)


def _missing(value: Any) -> bool:
    """Whether a label is missing: null, NaN, or a text for one of them."""
    if isinstance(value, str):
        return not value.strip() or is_missing(value)
    return value is None or (isinstance(value, float) and math.isnan(value))
