"""Remote stores (s3://, gs://, file://): existence and metadata."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainables.data.store_format import INFO_BYTES, INFO_FILE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.storage.filesystem import Storage  # pyarrow is heavy, and planning imports is_remote


def is_remote(address: str) -> bool:
    """Return whether an address has a scheme (s3://, gs://, file://), unlike a plain path."""
    return "://" in address


def storage_at(address: str) -> "Storage":
    """Return the storage object of an address or a folder."""
    from trainables.storage.filesystem import Storage

    return Storage.at(address)


def read_info_bytes(address: str) -> bytes | None:
    """Return the content of store.json at an address; None if there is no store.

    Raises:
        BadInputError: The address can't be reached, or store.json is too large.
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
    """Turn access errors (unknown scheme, no permission, unreachable) into a one-line BadInputError."""
    import pyarrow as pa

    try:
        yield
    except (BadInputError, pa.ArrowException, OSError, ImportError) as error:
        reason = (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"{address}: can't be reached ({reason}); check the address and your access") from error
