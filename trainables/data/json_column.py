"""JSON of an Arrow column, equal to that of `json.dumps`, with each distinct value written only once."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROWS_AT_ONCE = 2**12
"""Maximum number of rows whose text is in memory, few enough that the memory is used again."""
NULL = "null"


def json_of(column: Any) -> Iterator[str]:
    """Yield the text of `json.dumps(column.to_pylist())` in parts.

    Args:
        column: Arrow array of strings, int32, float64, or lists and structs of these.
    """
    yield "["
    for start in range(0, len(column), ROWS_AT_ONCE):
        yield ", " if start else ""
        yield ", ".join(_texts(column.slice(start, ROWS_AT_ONCE)).to_pylist())
    yield "]"


def _texts(values: Any) -> Any:
    """Return the text of each value as an Arrow array."""
    if pa.types.is_struct(values.type):
        texts = _objects(values)
    else:
        texts = _lists(values) if pa.types.is_list(values.type) else _scalars(values)
    return pc.if_else(values.is_valid(), texts, NULL)


def _objects(values: Any) -> Any:
    parts = []
    for number, (field, own) in enumerate(zip(values.type, values.flatten(), strict=True)):
        parts += [f"{', ' if number else '{'}{json.dumps(field.name)}: ", _texts(own)]
    return pc.binary_join_element_wise(*parts, "}", "")


def _lists(values: Any) -> Any:
    lengths = pc.list_value_length(values).fill_null(0)
    ends = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    inside = pc.binary_join(pa.ListArray.from_arrays(ends, _texts(values.flatten())), ", ")
    return pc.binary_join_element_wise("[", inside, "]", "")


def _scalars(values: Any) -> Any:
    """Return the texts of strings or numbers; floats are told apart by their bits, since 0.0 equals -0.0."""
    is_float = pa.types.is_floating(values.type)
    codes = (values.view(pa.int64()) if is_float else values).dictionary_encode()
    distinct = codes.dictionary.view(values.type).to_pylist()
    return pa.array(_written(distinct), pa.string()).take(codes.indices)


def _written(values: Sequence[Any]) -> list[str]:
    if values and not isinstance(values[0], str):
        return json.dumps(values)[1:-1].split(", ")
    encode = json.JSONEncoder().encode
    return [encode(value) for value in values]
