"""Small files under one address: a local folder, NFS, or an object store, through pyarrow.fs."""

import os
import secrets
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import fs

from trainables.errors import BadInputError

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt of an operation; the last one again and again."""
T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """A folder of a file system; picklable, so that workers get it as it is. `root` has no trailing slash."""

    filesystem: fs.FileSystem
    root: str
    patience: float = 0.0
    """Seconds for which an operation is tried again while the storage is away: raises OSError."""
    options: str = ""
    """What a URI says after its path: an object store's endpoint, region."""

    @classmethod
    def at(cls, address: str | Path) -> "Storage":
        """Return the storage at a local path or a URI (s3://, gs://, file://)."""
        text = str(address)
        if "://" not in text:
            text = Path(text).expanduser().absolute().as_uri()
        parts = urllib.parse.urlsplit(text)
        if parts.username or parts.password:
            raise BadInputError(
                f"storage {parts.scheme}://...@{parts.hostname}: credentials belong in the environment or a file"
            )
        try:
            filesystem, root = fs.FileSystem.from_uri(text)
        except (ValueError, OSError) as error:
            raise BadInputError(f"storage {str(address)!r}: not a path or URI that pyarrow opens ({error})") from error
        return cls(filesystem, root.rstrip("/"), options=parts.query)

    def child(self, name: str) -> "Storage":
        """Return the folder `name` below this one."""
        return replace(self, root=self._path(name))

    def patient(self, seconds: float) -> "Storage":
        """Return the same storage, whose operations wait so long for it where it is away."""
        return replace(self, patience=seconds)

    def _path(self, name: str) -> str:
        """Return the path of a name; BadInputError when it isn't below the root."""
        if name.startswith("/") or ".." in name.split("/"):
            raise BadInputError(f"storage {self.root}: the name {name!r} leaves it")
        return f"{self.root}/{name}".rstrip("/")

    def _try(self, operation: Callable[[], T]) -> T:
        pauses, deadline = iter(PAUSES), time.monotonic() + self.patience
        while True:
            try:
                return operation()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise
            except OSError:
                pause = next(pauses, PAUSES[-1])
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a file system of this machine (NFS counts)."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees all of it or none."""
        self.write_stream(name, lambda stream: stream.write(content))

    def write_stream(self, name: str, fill: Callable[[Any], object]) -> None:
        """As `write`, for content that `fill` writes into a binary stream.

        Locally under a temporary name and then moved; an object store shows an upload only when it is whole.
        """
        self._try(lambda: self._write_stream(name, fill))

    def _write_stream(self, name: str, fill: Callable[[Any], object]) -> None:
        target = self._path(name)
        if not self.is_local:
            with self.filesystem.open_output_stream(target) as stream:
                fill(stream)
            return
        temporary = Path(f"{target}.{secrets.token_hex(4)}.partial")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None when there is no such file."""
        path = self._path(name)

        def read() -> bytes:
            with self.filesystem.open_input_stream(path) as stream:
                content: bytes = stream.read()
                return content

        try:
            return self._try(read)
        except FileNotFoundError:
            return None

    def read_buffer(self, name: str) -> Any:
        """Return a file's content as a pyarrow buffer; FileNotFoundError where there is none."""
        with self.filesystem.open_input_file(self._path(name)) as file:
            return file.read_buffer()

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        path = self._path(name)
        info = self._try(lambda: self.filesystem.get_file_info(path))
        return bool(info.type != fs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """Return the names in a folder, sorted, without those still being written; empty when it doesn't exist."""
        path = self._path(folder)
        entries = self._try(lambda: self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))
        return sorted(entry.base_name for entry in entries if not entry.base_name.endswith(".partial"))

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        if self.exists(name):
            self._try(lambda: self.filesystem.delete_file(self._path(name)))

    def address(self, name: str = "") -> str:
        """Return the full address of a file, for a person, a tag, or `at`; it holds no credentials."""
        path = self._path(name)
        if self.is_local:
            return path
        scheme = {"gcs": "gs"}.get(self.filesystem.type_name, self.filesystem.type_name)
        return f"{scheme}://{path}" + (f"?{self.options}" if self.options else "")
