"""A store at an address (s3://, gs://, file://): whether there is one, and what it says of itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainables.data.store_format import INFO_BYTES, INFO_FILE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage  # imports pyarrow, and planning is_remote


def is_remote(address: str) -> bool:
    """Whether an address has a scheme (s3://, gs://, file://), as opposed to a plain path."""
    return "://" in address


def storage_at(address: str) -> "Storage":
    """Return the storage at an address or in a folder."""
    from trainables.storage.filesystem import Storage

    return Storage.at(address)


def read_info_bytes(address: str) -> bytes | None:
    """Return the content of store.json at an address, None where there is no store.

    Raises BadInputError for an address that can't be reached, and for a store.json that is larger than any.
    """
    with reached(address):
        storage = storage_at(address)
        try:
            with storage.filesystem.open_input_stream(f"{storage.root}/{INFO_FILE}") as stream:
                content: bytes = stream.read(INFO_BYTES + 1)
        except FileNotFoundError:
            return None
    if len(content) > INFO_BYTES:
        raise BadInputError(f"{address}: {INFO_FILE} has more than {INFO_BYTES:,} bytes; upload the store again")
    return content


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Turn a failure at an address (unknown scheme, no permission, unreachable) into BadInputError of one line."""
    import pyarrow as pa

    try:
        yield
    except (BadInputError, pa.ArrowException, OSError, ImportError) as error:
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"{address}: can't be reached ({reason}); check the address and your access") from error
