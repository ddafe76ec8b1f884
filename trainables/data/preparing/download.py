"""Downloading a published file: goes on where it was interrupted; what comes out is what the authors published."""

import hashlib
import itertools
import json
import os
import re
import shutil
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.response import addinfourl

from trainables.data.preparing.atomic_folder import explained, locked
from trainables.errors import BadInputError

PIECE_BYTES = 2**20
TIMEOUT_SECONDS = 60.0
BACK_OFF_SECONDS = 2.0
"""Waited after the first failed attempt, and twice as long after each further one."""
SCHEMES = ("http", "https", "file")
LONGEST_NAME = 200
PASSING_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""Those below 500 that another attempt may not meet."""
LASTING_REASONS = (str, ssl.SSLCertVerificationError, FileNotFoundError, IsADirectoryError, PermissionError)
"""The types of a URLError's reason that every attempt would meet."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes in all (None: unknown)."""
Answer = HTTPResponse | addinfourl


@dataclass(frozen=True)
class Remote:
    """A file as its authors publish it: `size` in bytes, `md5` in hexadecimal; None where they publish none."""

    url: str
    size: int | None
    md5: str | None


class _PassingError(Exception):
    """A fault that another attempt may not meet; the message is the fault alone."""


def download(remote: Remote, folder: Path, *, progress: Progress | None = None, attempts: int = 4) -> Path:
    """Return the complete, verified file of `remote` in `folder`, named as in the URL (safe characters only).

    A finished file is returned at once; an interrupted one is gone on with where the server lets (a file URL starts
    again). `attempts` is how often it is tried in all. Raises BadInputError for a URL or an answer that can't be used,
    for a file that isn't as published, while another process downloads it, and where the folder can't hold it.
    """
    target = folder / _file_name(remote.url)
    if _is_finished(target, remote):
        return target
    with locked(target, "downloaded"):
        if not _is_finished(target, remote):
            part = _Part(target, remote)
            _fetch(part, progress or (lambda here, total: None), attempts)
            part.finish()
    return target


def _failure(url: str, fault: str) -> BadInputError:
    return BadInputError(
        f"{url}: {fault}; try another mirror with --url, or download it by hand and give it with --source"
    )


def _file_name(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _failure(repr(url), f"not a URL ({error})") from error
    if parts.scheme not in SCHEMES or not url.isprintable() or " " in url:
        raise _failure(repr(url), f"not a URL of {', '.join(SCHEMES)} without spaces")
    last = unquote(parts.path.rpartition("/")[2])
    name = re.sub(r"[^A-Za-z0-9._-]", "_", last)[-LONGEST_NAME:].lstrip(".-")
    if not name:
        raise _failure(url, "names no file")
    return name


def _is_finished(target: Path, remote: Remote) -> bool:
    with explained(target.parent):
        if not target.exists():
            return False
        size = target.stat().st_size
    if not target.is_file() or remote.size not in (None, size):
        fault = f"has {size} bytes, expected {remote.size}" if target.is_file() else "not a file"
        raise BadInputError(f"{target}: {fault}; move it away to download {remote.url}")
    return True


@dataclass(frozen=True)
class _Note:
    """What is kept beside a part to know the same version again; `total` is in bytes, as the server says."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> tuple[str, str] | None:
        """The header that tells two versions apart and its value; weak ETags can't for ranges (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return "ETag", self.etag
        return ("Last-Modified", self.last_modified) if self.last_modified else None


class _Part:
    """The bytes that are here already, hashed, and the note of the version that they come from."""

    def __init__(self, target: Path, remote: Remote) -> None:
        self.target, self.remote, self.note = target, remote, _Note(remote.url)
        self.path = target.with_name(f"{target.name}.part")
        self.note_path = target.with_name(f"{target.name}.part.json")
        self.count = 0
        self.digest = hashlib.md5(usedforsecurity=False)
        with explained(target.parent):
            self._load()

    def _load(self) -> None:
        """Take up what an earlier download of the same URL left; what is of no use stays until it is replaced."""
        try:
            note = _Note(**json.loads(self.note_path.read_text(encoding="utf-8")))
            count = self.path.stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            return
        if note.url == self.remote.url and (note.total is None or count <= note.total):
            with self.path.open("rb") as file:
                self.digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            self.note, self.count = note, count

    @property
    def total(self) -> int | None:
        """Bytes in all: as the server says, otherwise as published."""
        return self.remote.size if self.note.total is None else self.note.total

    @property
    def is_complete(self) -> bool:
        return self.note.total is not None and self.count >= self.note.total

    def clear(self) -> None:
        with explained(self.target.parent):
            self.path.open("wb").close()
        self.count = 0
        self.digest = hashlib.md5(usedforsecurity=False)

    def start(self, headers: Message) -> None:
        """Begin a version from its first byte; raises BadInputError, with nothing lost, where its length is wrong."""
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        if None not in (total, self.remote.size) and total != self.remote.size:
            raise _failure(self.remote.url, f"expected {self.remote.size} bytes, found {total}")
        self.clear()
        self.note = _Note(self.remote.url, headers.get("ETag"), headers.get("Last-Modified"), total)
        with explained(self.target.parent):
            self.note_path.write_text(json.dumps(asdict(self.note)) + "\n", encoding="utf-8")

    def takes(self, answer: Answer) -> bool:
        """Return whether a range goes on from here in the same version; if not, the part is now complete or empty."""
        name, value = self.note.validator or ("ETag", None)
        is_same = value is None or answer.headers.get(name, value) == value
        first, total = _content_range(answer.headers)
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and is_same:
            if self.note.total is None and total == self.count:
                self.end_here()
                return False
        elif (
            answer.status == HTTPStatus.PARTIAL_CONTENT
            and is_same
            and first == self.count
            and (None in (total, self.total) or total == self.total)
        ):
            self.note = replace(self.note, total=self.note.total or total)
            return True
        self.clear()
        return False

    def append(self, piece: bytes) -> None:
        with explained(self.target.parent), self.path.open("ab") as file:
            file.write(piece)
        self.digest.update(piece)
        self.count += len(piece)

    def end_here(self) -> None:
        """Take what is here for the whole."""
        self.note = replace(self.note, total=self.count)

    def finish(self) -> None:
        """Give the part its final name; where it isn't as published, delete it and raise BadInputError."""
        fault = self._fault()
        with explained(self.target.parent):
            if fault:
                self.path.unlink()
            else:
                with self.path.open("rb+") as file:
                    os.fsync(file.fileno())
                self.path.replace(self.target)
            self.note_path.unlink(missing_ok=True)
        if fault:
            raise _failure(self.remote.url, f"{fault}, deleted")

    def _fault(self) -> str | None:
        size, checksum, found = self.remote.size, self.remote.md5, self.digest.hexdigest()
        size = self.note.total if size is None else size
        if size != self.count:
            return f"expected {size} bytes, found {self.count}"
        if checksum is not None and checksum.lower() != found:
            return f"expected MD5 {checksum}, found {found}"
        return None


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """Return the first byte's index and the bytes in all; None for what isn't said."""
    match = re.fullmatch(r"bytes (?:([0-9]+)-[0-9]+|\*)/(?:([0-9]+)|\*)", headers.get("Content-Range", ""))
    first, total = match.groups() if match else (None, None)
    return None if first is None else int(first), None if total is None else int(total)


def _fetch(part: _Part, progress: Progress, attempts: int) -> None:
    """Bring all bytes, in several attempts; raises BadInputError after the last."""
    opener = _opener()
    for attempt in itertools.count(1):
        try:
            _attempt(part, opener, progress)
            return
        except _PassingError as error:
            if attempt >= attempts:
                kept = f"{error} ({attempt} attempts; {part.count} bytes are kept)"
                raise _failure(part.remote.url, f"{kept}; run it again to go on") from error
        time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))


class _RangeAnswers(urllib.request.BaseHandler):
    def http_error_416(
        self, request: urllib.request.Request, answer: HTTPResponse, code: int, message: str, headers: Message
    ) -> HTTPResponse:
        """Let "range not satisfiable" through as an answer."""
        return answer


def _opener() -> urllib.request.OpenerDirector:
    """Return what urllib.request.build_opener does, without ftp: a redirection can't lead there."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _RangeAnswers(),
    ):
        opener.add_handler(handler)
    return opener


def _attempt(part: _Part, opener: urllib.request.OpenerDirector, progress: Progress) -> None:
    """Bring what is missing: one request, and one for everything where a range was of no use.

    Raises _PassingError, the part being as far as it came, and BadInputError where no other attempt can help.
    """
    while not part.is_complete:
        with _reaching(part.remote.url):
            answer: Answer = opener.open(_request(part), timeout=TIMEOUT_SECONDS)
        with answer:
            if answer.status in (None, HTTPStatus.OK):
                part.start(answer.headers)
            elif not part.count:
                raise _failure(part.remote.url, f"HTTP {answer.status}, no file")
            elif not part.takes(answer):
                continue
            _check_space(part)
            _stream(answer, part, progress)


def _request(part: _Part) -> urllib.request.Request:
    """Return the request for the bytes that are missing, of the same version only."""
    request = urllib.request.Request(part.remote.url, headers={"User-Agent": "sweep-service"})
    if part.count and part.note.validator is None and part.remote.md5 is None:
        part.clear()  # nothing would tell that pieces of two versions were joined
    if part.count:
        request.add_header("Range", f"bytes={part.count}-")
        if part.note.validator:
            request.add_header("If-Range", part.note.validator[1])
    return request


def _check_space(part: _Part) -> None:
    folder = part.target.parent
    missing = (part.total or 0) - part.count
    with explained(folder):
        free = shutil.disk_usage(folder).free
    if missing > free:
        needs = f"needs {missing / 1e9:.1f} GB, {free / 1e9:.1f} GB free in {folder}"
        raise BadInputError(f"{part.remote.url}: {needs}; choose another place with --root")


def _stream(answer: Answer, part: _Part, progress: Progress) -> None:
    progress(part.count, part.total)
    while part.total is None or part.count <= part.total:  # one piece too many shows a file that is too long
        with _reaching(part.remote.url):
            piece = answer.read(PIECE_BYTES)
        if not piece:
            break
        part.append(piece)
        progress(part.count, part.total)
    if part.total is not None and part.count < part.total:
        raise _PassingError(f"the connection ended early, at {part.count} of {part.total} bytes")
    if part.note.total is None:
        part.end_here()


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Turn a fault of the connection into _PassingError, or into BadInputError where no other attempt can help."""
    try:
        yield
    except HTTPError as error:
        error.close()
        fault = f"HTTP {error.code}"
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in PASSING_STATUSES:
            raise _failure(url, fault) from error
        raise _PassingError(fault) from error
    except (InvalidURL, ValueError) as error:
        raise _failure(url, str(error)) from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, LASTING_REASONS):
            raise _failure(url, str(reason)) from error
        raise _PassingError(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from error
