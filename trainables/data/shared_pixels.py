"""Pixels of label sets in shared storage: those of the store that they label, which lies beside them."""

import os
import re
import shutil
from pathlib import Path

from trainables.data.remote_store import is_remote, reached, storage_at
from trainables.data.store_format import PIXELS_FILE, PLAIN_NAME
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

LABELS_OF = "labels of"
"""Option of a label set: name and first digits of the fingerprint of the store that it labels."""
DIGITS = 12


def labels_of(info: StoreInfo) -> str:
    """Return the value of the option LABELS_OF, by which a label set names the store that it labels."""
    return f"{info.name} {info.fingerprint[:DIGITS]}"


def labelled_store(info: StoreInfo) -> tuple[str, str] | None:
    """Return name and first digits of the fingerprint of the store that a label set labels; None for other stores."""
    name, _, digits = str(info.options.get(LABELS_OF, "")).rpartition(" ")
    known = re.fullmatch(PLAIN_NAME, name) and re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", digits)
    return (name, digits) if known else None


def beside(address: str, name: str) -> str:
    """Return the address of the store `name` beside the one at an address."""
    place, mark, query = address.partition("?")
    return f"{place.rstrip('/').rpartition('/')[0]}/{name}{mark}{query}"


def labelled_beside(address: str, info: StoreInfo) -> StoreInfo | None:
    """Return the labelled store beside a label set's address; None if it is missing or has another fingerprint."""
    named = labelled_store(info)
    there = None if named is None else StoreInfo.read_address(beside(address, named[0]))
    return there if named and there and there.fingerprint.startswith(named[1]) else None


def has_pixels(address: str) -> bool:
    """Return whether a store in shared storage has a file of pixels of its own."""
    with reached(address):
        storage = storage_at(address)
        return bool(storage.filesystem.get_file_info(f"{storage.root}/{PIXELS_FILE}").is_file)


def pixel_address(address: str, info: StoreInfo) -> str:
    """Return the address of a store's pixels; a label set without pixels has those of the store that it labels.

    Raises:
        BadInputError: A label set has no pixels, and the store that it labels isn't beside it.
    """
    named = labelled_store(info)
    if named is None or not is_remote(address) or has_pixels(address):
        return address
    place = beside(address, named[0])
    if labelled_beside(address, info) is None:
        raise BadInputError(f"{address}: is a label set of {' '.join(named)}, which isn't at {place}; upload it there")
    return place


def share(pixels: Path, link: Path) -> None:
    """Hard-link the pixel file: nothing is copied, and either store can be removed."""
    try:
        os.link(pixels, link, follow_symlinks=True)
    except OSError:  # a file system without links
        shutil.copyfile(pixels, link)
