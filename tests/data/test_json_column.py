"""JSON of Arrow columns, on which fingerprints of stores depend."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trainables.data import json_column
from trainables.data.json_column import json_of

FACTS = pa.struct(
    [("name", pa.string()), ("place", pa.list_(pa.float64())), ("side", pa.int32()), ("share", pa.float64())]
)


def facts(name: str | None, place: list[float | None] | None, side: int | None, share: float | None) -> dict[str, Any]:
    return {"name": name, "place": place, "side": side, "share": share}


ODD = [
    facts('a "quote", a \\ and a\nline', [0.0, -0.0, 1e-7, 1e22], -3, float("nan")),
    None,
    facts("Zürich \U0001f6f0", [], None, float("-inf")),
    facts(None, None, 0, None),
    facts("", [None, 0.1 + 0.2], 2**31 - 1, float("inf")),
    facts("", [5e5, 10.0], 120, 2.0),
]


@pytest.mark.parametrize("rows_at_once", [1, 4, 4096])
def test_the_text_is_that_of_the_standard_library(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_column, "ROWS_AT_ONCE", rows_at_once)
    column = pa.array(ODD, FACTS)
    for part in (column, column.slice(2), column.slice(1, 3), column.slice(0, 0), pa.nulls(2, FACTS)):
        assert "".join(json_of(part)) == json.dumps(part.to_pylist())


def test_random_numbers_are_written_with_all_of_their_digits() -> None:
    bits = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    column = pa.array(np.concatenate([bits.view(np.float64), np.arange(-500, 500) / 8]))
    assert "".join(json_of(column)) == json.dumps(column.to_pylist())
