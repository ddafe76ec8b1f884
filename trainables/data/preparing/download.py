"""Download of a published file with resumption and verification, over requests and urllib3."""

import http.client
import os
import re
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, RequestException, SSLError, TooManyRedirects
from urllib3.exceptions import HTTPError, IncompleteRead, MaxRetryError, ProtocolError
from urllib3.util.retry import Retry

from trainables.data.preparing.atomic_folder import explained, locked
from trainables.data.preparing.partial_file import PartialFile, Progress, RemoteFile, RemoteVersion
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse  # urllib3 1.26 has none

PIECE_BYTES = 2**20
TIMEOUT_SECONDS = 60.0
BACK_OFF_SECONDS = 2.0
"""Backoff factor of urllib3: no wait before the second attempt, then 4, 8, 16, ... seconds."""
LONGEST_WAIT_SECONDS = 60.0
"""Maximum wait that a server's Retry-After header can request."""
SCHEMES = ("http", "https", "file")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LONGEST_NAME = 200
PASSING_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600))
"""HTTP status codes of temporary failures, which are retried."""
HEADERS = {"User-Agent": "sweep-service", "Accept-Encoding": "identity"}
"""No compression (`identity`), because byte ranges and checksums refer to the published bytes."""


def download(remote: RemoteFile, folder: Path, *, progress: Progress | None = None, attempts: int = 4) -> Path:
    """Return the complete, verified file of `remote` in `folder`.

    A finished file is returned at once. An interrupted download is resumed if the server supports ranges; a file URL
    starts again.

    Args:
        remote: URL, size and checksum of the file.
        folder: Folder of the file, whose name is that of the URL with safe characters only.
        progress: Function called with the bytes so far and the total (None: unknown).
        attempts: Maximum number of attempts.

    Raises:
        BadInputError: Invalid URL or response, wrong checksum or size, another process downloads the file, or the
            folder can't hold it.
    """
    target = folder / _file_name(remote)
    if _is_finished(target, remote):
        return target
    with locked(target, "downloaded"):
        if not _is_finished(target, remote):
            file = PartialFile(target, remote)
            fetch = _copy if urlsplit(remote.url).scheme == "file" else partial(_fetch, attempts=attempts)
            fetch(file, progress or (lambda here, total: None))
            file.finish()
    return target


def _file_name(remote: RemoteFile) -> str:
    quoted = replace(remote, url=repr(remote.url))  # an error is one line, whatever was given
    try:
        parts = urlsplit(remote.url)
    except ValueError as error:
        raise quoted.failure(f"not a URL ({error})") from error
    if parts.scheme not in SCHEMES or not remote.url.isprintable() or " " in remote.url:
        raise quoted.failure(f"not a URL of {', '.join(SCHEMES)} without spaces")
    if parts.scheme == "http" and remote.md5 is None and parts.hostname not in LOOPBACK:
        raise remote.failure(
            "http, and no checksum is known: anybody on the way could change it; give an https address"
        )
    last = unquote(parts.path.rpartition("/")[2])
    name = re.sub(r"[^A-Za-z0-9._-]", "_", last)[-LONGEST_NAME:].lstrip(".-")
    if not name:
        raise remote.failure("names no file")
    return name


def _is_finished(target: Path, remote: RemoteFile) -> bool:
    with explained(target.parent):
        if not target.exists():
            return False
        size = target.stat().st_size
    if not target.is_file() or remote.size not in (None, size):
        fault = f"has {size} bytes, expected {remote.size}" if target.is_file() else "not a file"
        raise BadInputError(f"{target}: {fault}; move it away to download {remote.url}")
    return True


def _copy(file: PartialFile, progress: Progress) -> None:
    """Copy the bytes of a file URL; outside of the session, so that no redirection can reach a local file."""
    url = file.remote.url
    try:
        with Path(unquote(urlsplit(url).path)).open("rb") as source:
            file.start(RemoteVersion(redact(url), total=os.fstat(source.fileno()).st_size))
            file.take(iter(partial(source.read, PIECE_BYTES), b""), progress)
    except OSError as error:
        raise file.remote.failure(_reason(error)) from error


class _Session(requests.Session):
    """HTTP session that refuses redirections from https to an unencrypted address."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target: str | None = super().get_redirect_target(resp)
        if target is not None and urlsplit(resp.url).scheme == "https":
            target = urljoin(resp.url, target)
            if urlsplit(target).scheme != "https":
                resp.close()
                raise InvalidSchema(f"{urlsplit(resp.url).netloc} leads from https to {target[:LONGEST_NAME]}")
        return target


class _Retry(Retry):
    def get_retry_after(self, response: "BaseHTTPResponse") -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, LONGEST_WAIT_SECONDS)


def _fetch(file: PartialFile, progress: Progress, *, attempts: int) -> None:
    """Download the missing bytes over HTTP; BadInputError after the last attempt or a permanent failure."""
    retries = _Retry(
        attempts - 1,
        other=1,  # faults of TLS: a bad certificate stays so
        status_forcelist=PASSING_STATUSES,
        backoff_factor=BACK_OFF_SECONDS,
    )
    adapter = HTTPAdapter(max_retries=retries)
    with _Session() as session:
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        try:
            while not file.is_complete:
                _request(session, adapter, file, progress)
        except (SSLError, TooManyRedirects, InvalidURL, InvalidSchema) as error:
            raise file.remote.failure(_reason(error)) from error
        except (RequestException, MaxRetryError) as error:
            kept = f"{_reason(error)} ({attempts} attempts; {file.count} bytes are kept)"
            raise file.remote.failure(f"{kept}; run it again to continue") from error


def _request(session: requests.Session, adapter: HTTPAdapter, file: PartialFile, progress: Progress) -> None:
    """Append the body of one response, which may end early; MaxRetryError after the last attempt."""
    headers = HEADERS | file.range_headers()
    with session.get(file.remote.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if not _fits(file, answer):
            file.clear()  # so that the next request is for all of it
            return
        try:
            file.take(answer.raw.stream(PIECE_BYTES, decode_content=False), progress)
            if not file.is_complete:
                raise IncompleteRead(file.count, (file.total or 0) - file.count)
        except HTTPError as error:  # within a body, where urllib3 leaves it to its caller to try again
            adapter.max_retries = answer.raw.retries.increment("GET", error=ProtocolError(_reason(error)))
            adapter.max_retries.sleep()


def _fits(file: PartialFile, answer: requests.Response) -> bool:
    """Whether a response continues or restarts the file; False: the whole file must be requested.

    Raises:
        BadInputError: Any other HTTP status.
    """
    if answer.status_code == HTTPStatus.OK:
        file.start(RemoteVersion.of(file.remote.url, answer.headers))
        return True
    if file.count and answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        return file.continues(answer.headers)
    if file.count and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    raise file.remote.failure(f"HTTP {answer.status_code}")


def _reason(error: BaseException) -> str:
    """Return the root cause of an error of requests or urllib3, in one line."""
    inner = (argument for argument in error.args if isinstance(argument, BaseException))
    if (cause := error.__cause__ or error.__context__ or next(inner, None)) is not None:
        return _reason(cause)
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended early"
    text = getattr(error, "strerror", None) or str(error)
    return (text.splitlines() or [type(error).__name__])[0]
