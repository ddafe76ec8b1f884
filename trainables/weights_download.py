"""Files of published encoders: where they are kept, download and verification."""

import hashlib
import os
import secrets
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from trainables.errors import BadInputError
from trainables.weights_catalog import CatalogEntry

TIMEOUT_SECONDS = 60.0
MOST_BYTES = 2**30
MIRROR = "SWEEP_WEIGHTS_URL"
"""Environment variable: address of a folder with the catalogue's files, which replaces their own addresses."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def weights_folder() -> Path:
    """Return the folder of downloaded weights: the environment's SWEEP_WEIGHTS, otherwise ~/.cache/sweep/weights."""
    chosen = os.environ.get("SWEEP_WEIGHTS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "sweep" / "weights"


def fetched(entry: CatalogEntry) -> Path:
    """Return the entry's verified file in the catalogue's folder, and download it if it is missing.

    Raises:
        BadInputError: The download fails, or the file isn't the published one; the message has the path to put it at.
    """
    path = weights_folder() / entry.file_name
    if not path.is_file():
        _write(path, _download(entry, path))
    check_content(entry, path.read_bytes(), path)
    return path


def check_content(entry: CatalogEntry, content: bytes, where: object) -> None:
    """Raise BadInputError if a file isn't the published one, by the known digits of its SHA-256."""
    digest = hashlib.sha256(content).hexdigest()
    if not digest.startswith(entry.digest_prefix):
        raise BadInputError(
            f"initial_weights: {where}: isn't {entry.name}: its sha256 begins with {digest[:8]}, the published one "
            f"with {entry.digest_prefix}; remove it"
        )


def _download(entry: CatalogEntry, path: Path) -> bytes:
    mirror = os.environ.get(MIRROR)
    url = f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url
    advice = f"download {entry.url} on another machine and put it at {path}"
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise BadInputError(f"{MIRROR}: must be an https address, got {url}; or {advice}")
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise BadInputError(f"initial_weights: {entry.name}: can't be downloaded ({reason}); {advice}") from error
    if len(content) > MOST_BYTES:
        raise BadInputError(f"initial_weights: {entry.name}: has more than {MOST_BYTES:,} bytes; {advice}")
    check_content(entry, content, url)
    return content


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically, so that other processes never read a part of it."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(f"{path}: can't be written ({error.strerror or error}); set SWEEP_WEIGHTS") from error
