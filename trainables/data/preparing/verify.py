"""Store verification, local or remote: each image is compared with its checksum."""

from pathlib import Path

from trainables.data.preparing.decode_workers import Progress
from trainables.data.remote_store import is_remote, reached, storage_at
from trainables.data.shared_pixels import pixel_address
from trainables.data.store_addresses import store_address, store_folder
from trainables.data.store_check import PixelCheck, check_rows
from trainables.data.store_format import PIXELS_FILE
from trainables.data.store_info import StoreInfo, prepared
from trainables.data.store_rows import rows_at
from trainables.errors import BadInputError

PIECE_BYTES = 8 * 2**20


def verify(name: str, root: Path | None = None, progress: Progress | None = None) -> StoreInfo:
    """Verify a store: each row against its checksum, and the whole against its fingerprint.

    Args:
        name: Name of a store below `root`, or the address of one (s3://bucket/stores/eurosat).
        root: Folder or address of all stores; None: SWEEP_DATA, otherwise the default root.
        progress: Function called with a description, the count so far and the total.

    Raises:
        BadInputError: A row or file is damaged, which the message names.
    """
    if is_remote(name):
        info, place = StoreInfo.read_address(name), name
        if info is None:
            raise BadInputError(f"{name}: no store there; upload one: python -m sweep.data upload --help")
    else:
        info = prepared(name, root)
        place = store_address(name) if root is None else str(store_folder(name, root))
    rows = rows_at(place)
    check_rows(info, rows, place)
    _check_pixels(PixelCheck(info, rows, place), place, info, progress)
    return info


def _check_pixels(check: PixelCheck, place: str, info: StoreInfo, progress: Progress | None) -> None:
    place = pixel_address(place, info)
    with reached(place):
        storage = storage_at(place)
        stream = storage.filesystem.open_input_stream(f"{storage.root}/{PIXELS_FILE}")
    with stream:
        while piece := reached(place)(stream.read)(PIECE_BYTES):
            check.add(piece)
            if progress is not None:
                progress("verifying images", check.checked, info.images)
    check.finish()
