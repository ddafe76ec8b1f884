"""A store in shared or object storage, copied once to each node: locked, checked, and cleaned by least recent use."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trainables.data.catalog import INFO_FILE
from trainables.errors import BadInputError

CHUNK = 8 * 2**20
SHARE_OF_DISK = 0.8
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
USE_FILE = ".use"
"""Its time is the store's last use; who reads the store holds a shared lock on it."""

Progress = Callable[[int, int], None]
"""Called with bytes copied and bytes in all."""


def is_remote(address: str) -> bool:
    """Whether an address has a scheme (s3://, gs://, file://), as opposed to a plain path."""
    return "://" in address


def upload(folder: Path, address: str, *, progress: Progress | None = None) -> None:
    """Copy the store in `folder` to an address that pyarrow.fs knows, its store.json last, so that no reader sees half.

    A store with the same fingerprint there is left alone. Raises BadInputError for one with another, and for an address
    that can't be written.
    """
    own = (folder / INFO_FILE).read_bytes()
    there = read_info_bytes(address)
    if there is not None:
        if _fingerprint(there) == _fingerprint(own):
            return
        raise BadInputError(f"{address}: holds another store ({_fingerprint(there)[:12]}); choose another address")
    with _reached(address) as (system, place):
        system.create_dir(place, recursive=True)
        files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.name == INFO_FILE)
        total, done = sum(path.stat().st_size for path in files), 0
        for path in files:
            with path.open("rb") as source, system.open_output_stream(f"{place}/{path.name}") as target:
                done = _copy(source.read, target.write, done, total, progress)


def read_info_bytes(address: str) -> bytes | None:
    """Return the content of store.json at an address, None where there is no store.

    Raises BadInputError for an address that can't be reached.
    """
    with _reached(address) as (system, place):
        try:
            with system.open_input_stream(f"{place}/{INFO_FILE}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None


def local_copy(
    address: str,
    fingerprint: str,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the folder on this machine that holds the store with that fingerprint, copied there if it has to be.

    `cache` (else SWEEP_CACHE, else ~/.cache/sweep/nodes) holds at most `limit` bytes (else SWEEP_CACHE_LIMIT, else 80 %
    of the disk): stores that nobody reads make room, the least recently used first. A second process waits for the
    first. Raises BadInputError for another store at the address, no room, and a cache that can't be written.
    """
    root = cache or Path(os.environ.get("SWEEP_CACHE", "~/.cache/sweep/nodes")).expanduser()
    folder = root / fingerprint[:32]
    if (folder / USE_FILE).is_file():
        _touch(folder)
        return folder
    with _explained(root):
        root.mkdir(parents=True, exist_ok=True)
        with (root / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / USE_FILE).is_file():
                _fetch(address, fingerprint, folder, _limit(root, limit), progress)
    return folder


def hold(folder: Path) -> IO[bytes]:
    """Return an open file that keeps a cached store from being removed until it is closed."""
    file = (folder / USE_FILE).open("rb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _fetch(address: str, fingerprint: str, folder: Path, limit: int, progress: Progress | None) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    content = read_info_bytes(address)
    if content is None:
        raise BadInputError(f"{address}: no store there; upload one: python -m sweep.data upload --help")
    if _fingerprint(content) != fingerprint:
        raise BadInputError(
            f"{address}: has fingerprint {_fingerprint(content)[:12]}, {fingerprint[:12]} was planned with; plan again"
        )
    try:
        with _reached(address) as (system, place):
            _download(system, place, partial, folder.parent, limit, progress)
        (partial / USE_FILE).touch()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(system: Any, place: str, partial: Path, root: Path, limit: int, progress: Progress | None) -> None:
    from pyarrow import fs

    found = [info for info in system.get_file_info(fs.FileSelector(place)) if info.is_file]
    total, done = sum(info.size for info in found), 0
    with _explained(root):
        _make_room(root, total, limit)
        partial.mkdir()
    for info in found:
        with system.open_input_stream(info.path) as source, (partial / info.base_name).open("wb") as target:
            done = _copy(source.read, target.write, done, total, progress)
        if (partial / info.base_name).stat().st_size != info.size:
            raise BadInputError(f"{info.path}: came with another size than listed; try again")


def _copy(
    read: Callable[[int], bytes],
    write: Callable[[bytes], Any],
    done: int,
    total: int,
    progress: Progress | None,
) -> int:
    while piece := read(CHUNK):
        write(piece)
        done += len(piece)
        if progress is not None:
            progress(done, total)
    return done


def _make_room(root: Path, needed: int, limit: int) -> None:
    """Remove stores that nobody holds, the least recently used first, until `needed` bytes fit."""
    kept = sorted((path for path in root.iterdir() if (path / USE_FILE).is_file()), key=_last_use)
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in kept}
    for path in kept:
        if sum(sizes.values()) + needed <= limit:
            break
        if _remove_unheld(path):
            del sizes[path]
    if sum(sizes.values()) + needed > limit:
        raise BadInputError(
            f"{root}: needs {needed / 1e9:.1f} GB, the limit is {limit / 1e9:.1f} GB of which "
            f"{sum(sizes.values()) / 1e9:.1f} GB are in use; raise SWEEP_CACHE_LIMIT or choose another SWEEP_CACHE"
        )


def _remove_unheld(folder: Path) -> bool:
    with (folder / USE_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
        return True


def _last_use(folder: Path) -> float:
    return (folder / USE_FILE).stat().st_mtime


def _touch(folder: Path) -> None:
    try:
        os.utime(folder / USE_FILE)
    except OSError:  # a cache that is only read is no worse a cache
        return


def _limit(root: Path, limit: int | None) -> int:
    if limit is not None:
        return limit
    text = os.environ.get("SWEEP_CACHE_LIMIT", "").strip()
    if not text:
        return int(shutil.disk_usage(root).total * SHARE_OF_DISK)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?", text, re.IGNORECASE)
    unit = (match[2] or "").upper() if match else "?"
    if match is None or unit not in {**UNITS, "B": 1}:
        raise BadInputError(f"SWEEP_CACHE_LIMIT {text!r}: must be bytes, or as 200GB or 50 GiB")
    return int(float(match[1]) * {**UNITS, "B": 1}[unit])


def _fingerprint(content: bytes) -> str:
    try:
        return str(json.loads(content)["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return "unknown"


@contextmanager
def _reached(address: str) -> Iterator[tuple[Any, str]]:
    """Give the file system and path of an address; BadInputError where it can't be reached."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        yield fs.FileSystem.from_uri(address)
    except BadInputError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInputError(f"{address}: can't be reached ({reason}); check the address and your access") from error


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{root}: can't be written ({error.strerror or error}); choose another folder with SWEEP_CACHE"
        ) from error
