"""Partial download: the bytes received so far and the version they belong to, stored beside the final name."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trainables.data.preparing.atomic_folder import explained
from trainables.errors import BadInputError
from trainables.files.byte_size import shown_size
from trainables.printing.redaction import redact

Progress = Callable[[int, int | None], None]
"""Callback with the bytes received and the total (None: unknown)."""


@dataclass(frozen=True)
class RemoteFile:
    """Published file with its size in bytes and its MD5 in hexadecimal; None if unpublished."""

    url: str
    size: int | None
    md5: str | None

    def failure(self, fault: str) -> BadInputError:
        """Return an error that states the fault and another way to get the file."""
        return BadInputError(
            f"{self.url}: {fault}; try another mirror with --url, or download it by hand and give it with --source"
        )


@dataclass(frozen=True)
class RemoteVersion:
    """Version of a file from a server's headers; `total` is in bytes."""

    url: str
    """URL without secrets, so that a link with a new signature still names the same file."""
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str]) -> "RemoteVersion":
        """Return the version that the headers of a complete response describe."""
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        return cls(redact(url), headers.get("ETag"), headers.get("Last-Modified"), total)

    @property
    def validator(self) -> str | None:
        """Header value that identifies the version: a strong ETag or the date.

        Weak ETags don't hold for byte ranges (RFC 9110, 13.1.5).
        """
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class PartialFile:
    """Bytes of a remote file received so far, hashed as they arrive; the caller holds the path's lock."""

    def __init__(self, target: Path, remote: RemoteFile) -> None:
        self.remote, self.version, self.count = remote, RemoteVersion(redact(remote.url)), 0
        self._target, self._path = target, target.with_name(f"{target.name}.part")
        self._version_path = target.with_name(f"{target.name}.part.json")
        self._digest = hashlib.md5(usedforsecurity=False)
        with explained(target.parent):
            self._load()

    def _load(self) -> None:
        """Load the state of an earlier download of the same URL; an unusable file stays until it is replaced."""
        try:
            version = RemoteVersion(**json.loads(self._version_path.read_text(encoding="utf-8")))
            count = self._path.stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            return
        if version.url == redact(self.remote.url) and (version.total is None or count <= version.total):
            with self._path.open("rb") as file:
                self._digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            self.version, self.count = version, count

    @property
    def total(self) -> int | None:
        """Total in bytes: from the server, otherwise as published."""
        return self.remote.size if self.version.total is None else self.version.total

    @property
    def is_complete(self) -> bool:
        """Whether all announced bytes have been received."""
        return self.version.total is not None and self.count >= self.version.total

    def range_headers(self) -> dict[str, str]:
        """Return the headers that request the missing bytes of the same version; empty at the first byte."""
        if self.count and self.version.validator is None and self.remote.md5 is None:
            self.clear()  # nothing would tell that pieces of two versions were joined
        if not self.count:
            return {}
        same = {} if self.version.validator is None else {"If-Range": self.version.validator}
        return {"Range": f"bytes={self.count}-", **same}

    def continues(self, headers: Mapping[str, str]) -> bool:
        """Whether a range response continues this file: the same version, from the next missing byte on."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.count:
            return False
        is_same = RemoteVersion.of(self.remote.url, headers).validator in (None, self.version.validator)
        return is_same and (self.total is None or found[2] in ("*", str(self.total)))

    def clear(self) -> None:
        """Discard the received bytes."""
        with explained(self._target.parent):
            self._path.open("wb").close()
        self.count, self._digest = 0, hashlib.md5(usedforsecurity=False)

    def start(self, version: RemoteVersion) -> None:
        """Begin a version at its first byte; BadInputError, with nothing deleted, if its length is wrong."""
        if None not in (version.total, self.remote.size) and version.total != self.remote.size:
            raise self.remote.failure(f"expected {self.remote.size} bytes, found {version.total}")
        self.clear()
        self.version = version
        with explained(self._target.parent):
            self._version_path.write_text(json.dumps(asdict(version)) + "\n", encoding="utf-8")

    def take(self, pieces: Iterable[bytes], progress: Progress) -> None:
        """Append pieces until they end or exceed the total; BadInputError if the disk is full.

        If the length is unknown, the file ends with the last piece.
        """
        self._check_space()
        progress(self.count, self.total)
        with explained(self._target.parent), self._path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                self._digest.update(piece)
                self.count += len(piece)
                progress(self.count, self.total)
                if self.total is not None and self.count > self.total:
                    break
        if self.version.total is None and self.count >= (self.total or 0):
            self.version = replace(self.version, total=self.count)

    def _check_space(self) -> None:
        folder = self._target.parent
        with explained(folder):
            free = shutil.disk_usage(folder).free
        if (missing := (self.total or 0) - self.count) > free:
            needs = f"needs {shown_size(missing)}, {shown_size(free)} free in {folder}"
            raise BadInputError(f"{self.remote.url}: {needs}; choose another place with --root")

    def finish(self) -> None:
        """Rename the file to its final name; if size or checksum is wrong, delete it and raise BadInputError."""
        fault = self._fault()
        with explained(self._target.parent):
            if fault is None:
                with self._path.open("rb+") as file:
                    os.fsync(file.fileno())
                self._path.replace(self._target)
            self._path.unlink(missing_ok=True)
            self._version_path.unlink(missing_ok=True)
        if fault is not None:
            raise self.remote.failure(f"{fault}, deleted")

    def _fault(self) -> str | None:
        size, md5 = self.remote.size, self._digest.hexdigest()
        if size not in (None, self.count):
            return f"expected {size} bytes, found {self.count}"
        if self.remote.md5 is not None and self.remote.md5.lower() != md5:
            return f"expected MD5 {self.remote.md5}, found {md5}"
        return None
