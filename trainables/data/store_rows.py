"""Index of a store in a folder or at a remote address, without its pixels."""

from pathlib import Path
from typing import Any

from trainables.data.index_table import open_rows, parse_rows
from trainables.data.remote_store import is_remote, reached, storage_at
from trainables.data.store_format import ROWS_FILE


def rows_at(address: str) -> Any:
    """Return the index of the store at an address or in a folder as one record batch.

    Raises:
        BadInputError: The address can't be reached, or the index is damaged.
    """
    if not is_remote(address):
        return open_rows(Path(address) / ROWS_FILE)
    with reached(address):
        content = storage_at(address).read_buffer(ROWS_FILE)
    return parse_rows(content, f"{address}: {ROWS_FILE}")
