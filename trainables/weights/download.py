"""Files of published encoders: where they are kept, download and verification."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from trainables.errors import BadInputError, nearest
from trainables.files.atomic_file import write_atomically
from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.header import check_header

TIMEOUT_SECONDS = 60.0
MOST_BYTES = 2**30
MIRROR = "SWEEP_WEIGHTS_URL"
"""Environment variable: address of a folder with the catalogue's files, which replaces their own addresses."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def weights_folder() -> Path:
    """Return the folder of downloaded weights: the environment's SWEEP_WEIGHTS, otherwise ~/.cache/sweep/weights."""
    chosen = os.environ.get("SWEEP_WEIGHTS")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "sweep" / "weights"


def nearest_entry(name: str) -> str:
    """Return "; did you mean ...?" with names of the catalogue that are spelt like `name`; empty if there are none."""
    plain = name.lower().replace("-", "_")
    return f"; did you mean {plain!r}?" if plain in CATALOG and plain != name else nearest(plain, CATALOG)


def fetched(entry: CatalogEntry) -> Path:
    """Return the entry's verified file in the catalogue's folder, and download it if it is missing.

    Raises:
        BadInputError: The download fails, or the file isn't the published one; the message has the path to put it at.
    """
    path = weights_folder() / entry.file_name
    if not path.is_file():
        _write(path, _download(entry, path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"initial_weights: {path}: can't be read ({error.strerror or error})") from error
    if fault := _other_content(entry, content):
        raise BadInputError(
            f"initial_weights: {path}: isn't {entry.name}: {fault}; remove it to download it again, or put the file "
            f"of {entry.url} there"
        )
    return path


def _other_content(entry: CatalogEntry, content: bytes) -> str:
    """Return why a file isn't the published one, by the known digits of its SHA-256; empty if it is."""
    digest = hashlib.sha256(content).hexdigest()
    if digest.startswith(entry.digest_prefix):
        return ""
    return f"its sha256 begins with {digest[:8]}, the published one with {entry.digest_prefix}"


class _Redirections(HTTPRedirectHandler):
    """Redirections, except those from https to an unencrypted address, and to other protocols than http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not _is_safe(newurl):
            fp.close()
            raise URLError(f"{urlsplit(req.full_url).netloc} leads to {newurl[:200]}, which isn't https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can change an answer: https, or http from this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _download(entry: CatalogEntry, path: Path) -> bytes:
    mirror = os.environ.get(MIRROR)
    url = f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url
    advice = f"download {entry.url} on another machine and put it at {path}"
    with _explained(f"initial_weights: {entry.name}: can't be downloaded", advice):
        if not _is_safe(url):
            raise BadInputError(f"{MIRROR}: must be an https address, got {url}; or {advice}")
        with build_opener(_Redirections).open(url, timeout=TIMEOUT_SECONDS) as answer:
            content = _body(answer)
        if fault := _other_content(entry, content):
            check_header(content, url)  # a web page or another file, said as such
            raise BadInputError(f"initial_weights: {url}: isn't {entry.name}: {fault}; {advice}")
    return content


def _body(answer: HTTPResponse) -> bytes:
    """Return the whole body of an answer; URLError if it is too long, or ends early."""
    content = answer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise URLError(f"it has more than {MOST_BYTES:,} bytes")
    stated = answer.headers.get("Content-Length", "")
    if stated.isdecimal() and len(content) < int(stated):
        raise URLError(f"the connection ended after {len(content):,} of {int(stated):,} bytes")
    return content


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    """Raise BadInputError with the reason in one line, in place of an error of the connection or the address."""
    try:
        yield
    except BadInputError:
        raise
    except HTTPError as error:
        error.close()
        lines = str(error.reason).splitlines() or [""]
        raise BadInputError(f"{what} (HTTP {error.code}: {lines[0]}); {advice}") from error
    except URLError as error:
        raise BadInputError(f"{what} ({error.reason}); {advice}") from error
    except HTTPException as error:
        lines = str(error).splitlines() or [""]
        raise BadInputError(f"{what} ({type(error).__name__}: {lines[0][:200]}); {advice}") from error
    except (OSError, ValueError) as error:
        raise BadInputError(f"{what} ({error}); {advice}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise BadInputError(f"{path}: can't be written ({error.strerror or error}); set SWEEP_WEIGHTS") from error
