"""Stores that somebody else wrote: at an address, with what a test changes in them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainables.data.index_table import open_rows
from trainables.data.preparing.prepare import prepare
from trainables.data.store_info import StoreInfo
from trainables.data.store_upload import upload


def published(folder: Path) -> tuple[Path, str, str]:
    """Upload a small store; return its folder, its address and its fingerprint."""
    info = prepare("digits", root=folder / "made", fraction=0.05)
    place = folder / "shared" / "digits"
    upload(folder / "made" / "digits", f"file://{place}")
    return place, f"file://{place}", info.fingerprint


def change_info(place: Path, fields: Mapping[str, Any]) -> None:
    """Change fields of a store's store.json."""
    path = place / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(fields)))


def change_rows(place: Path, column: str, change: Callable[[pa.Array], pa.Array]) -> None:
    """Change a column of a store's rows."""
    path = place / "rows.arrow"
    rows = open_rows(path)
    columns = [change(rows.column(name)) if name == column else rows.column(name) for name in rows.schema.names]
    batch = pa.RecordBatch.from_arrays(columns, schema=rows.schema)
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, rows.schema) as writer:
        writer.write_batch(batch)
    path.write_bytes(content.getvalue().to_pybytes())


def info_of(place: Path) -> StoreInfo:
    """Return what a store says of itself."""
    info = StoreInfo.read_folder(place)
    assert info is not None
    return info
