"""Upload of stores to shared or object storage, from which nodes copy them into their caches."""

from pathlib import Path

from trainables.data.cache import Progress, pieces
from trainables.data.remote_store import reached, storage_at
from trainables.data.shared_pixels import beside, labelled_beside, labelled_store
from trainables.data.store_format import INFO_FILE, PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError


def upload(folder: Path, address: str, *, progress: Progress | None = None) -> None:
    """Upload a store to shared or object storage; store.json is written last, so readers never see a partial store.

    If the address already holds a store with the same fingerprint, nothing is copied. The pixels of a label set aren't
    copied if the store that it labels is beside the address, or is here and can be uploaded there first.

    Args:
        folder: Folder of the local store.
        address: Target address, of any scheme that pyarrow.fs supports.
        progress: Callback with the bytes copied and the total bytes.

    Raises:
        BadInputError: The address holds a store with another fingerprint, or can't be written.
    """
    own = StoreInfo.read_folder(folder)
    if own is None:
        raise BadInputError(f"{folder}: no prepared data set; see python -m sweep.data list")
    content = (folder / INFO_FILE).read_bytes()
    there = StoreInfo.read_address(address)
    if there is not None:
        if there.fingerprint == own.fingerprint:
            return
        raise BadInputError(f"{address}: holds another store ({there.fingerprint[:12]}); choose another address")
    shared = _shares_pixels(own, folder, address, progress)
    with reached(address):
        storage = storage_at(address)
        storage.filesystem.create_dir(storage.root, recursive=True)
        pixels = () if shared else (PIXELS_FILE,)
        files = [folder / name for name in (ROWS_FILE, *pixels)]
        total, done = sum(path.stat().st_size for path in files) + len(content), 0
        for path in files:
            with path.open("rb") as source, storage.filesystem.open_output_stream(f"{storage.root}/{path.name}") as to:
                for piece in pieces(source.readinto, path.stat().st_size):
                    to.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, total)
        storage.write(INFO_FILE, content)  # atomic for readers


def _shares_pixels(own: StoreInfo, folder: Path, address: str, progress: Progress | None) -> bool:
    """Return whether the store that a label set labels is beside its address, after uploading it if it is here."""
    named = labelled_store(own)
    if named is None or (place := beside(address, named[0])) == address:
        return False
    base, there = StoreInfo.read_folder(folder.with_name(named[0])), StoreInfo.read_address(place)
    if there is None and base is not None and base.fingerprint.startswith(named[1]):
        upload(folder.with_name(named[0]), place, progress=progress)
    return labelled_beside(address, own) is not None
