"""Storage of small files under one address: a local folder, NFS, or an object store, through pyarrow.fs."""

import errno
import hashlib
import os
import secrets
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import fs

from trainables.errors import BadInputError
from trainables.printing.redaction import secret_part
from trainables.storage.uri_schemes import broken_scheme

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt of an operation; the last value repeats."""
PIECE_BYTES = 2**22
T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """Folder of a file system; picklable, to be sent to workers. `root` has no trailing slash."""

    filesystem: fs.FileSystem
    root: str
    patience: float = 0.0
    """Seconds for which an operation is retried while the storage is unreachable (raises OSError)."""
    options: str = ""
    """Query of a URI, as the endpoint and region of an object store."""

    @classmethod
    def at(cls, address: str | Path) -> "Storage":
        """Return the storage at a local path or a URI (s3://, gs://, file://).

        Raises:
            BadInputError: It is empty, isn't a URI that pyarrow opens, names no bucket, or contains a secret.
        """
        text = str(address)
        if not text.strip():
            raise BadInputError("storage '': is empty (a variable that isn't set?); give a folder or a URI")
        if "://" not in text:
            if scheme := broken_scheme(text):
                raise BadInputError(f"storage {text!r}: a URI begins with {scheme}://")
            text = _local(text).as_uri()
        if secret := secret_part(text):
            raise BadInputError(
                f"storage {text}: has {secret}; credentials belong in the environment or a file, as an address is kept"
            )
        try:
            filesystem, root = fs.FileSystem.from_uri(text)
        except (ValueError, OSError) as error:
            raise BadInputError(f"storage {str(address)!r}: not a path or URI that pyarrow opens ({error})") from error
        if not root.strip("/") and not isinstance(filesystem, fs.LocalFileSystem):
            raise BadInputError(f"storage {str(address)!r}: names no bucket; give one, as in s3://BUCKET/FOLDER")
        return cls(filesystem, root.rstrip("/"), options=urllib.parse.urlsplit(text).query)

    def child(self, name: str) -> "Storage":
        """Return the folder `name` below this one."""
        return replace(self, root=self._path(name))

    def patient(self, seconds: float) -> "Storage":
        """Return the same storage with another patience for its operations, in seconds."""
        return replace(self, patience=seconds)

    def _path(self, name: str) -> str:
        """Return the path of a name; BadInputError if it isn't below the root."""
        parts = name.split("/") if name else []
        if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise BadInputError(f"storage {self.root}: the name {name!r} leads out of it, or isn't a file name")
        return "/".join([self.root, *parts])

    def own_path(self, name: str, *, whole: bool = False) -> str:
        """Return the path of a name to write or delete; BadInputError if a link leads out of the root.

        With `whole` the path is a folder with its content, which must not be a link. A file that is a link is itself
        replaced.
        """
        path = self._path(name)
        if self.is_local:
            root = os.path.realpath(self.root)
            place = os.path.realpath(path if whole else os.path.dirname(path))  # noqa: PTH120
            if not name or os.path.commonpath([root, place]) != root:
                raise BadInputError(
                    f"storage {self.root}: {name!r} is behind a link, in {place}; it was left unchanged"
                )
        return path

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
        """Whether the files are in a file system of this machine; NFS counts as one."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def overlaps(self, other: "Storage") -> bool:
        """Whether one root equals or contains the other; links and spellings are resolved."""
        if self.is_local and other.is_local:
            mine, its = (Path(os.path.realpath(root)) for root in (self.root, other.root))
            return _within(mine, its) or _within(its, mine)
        if self.filesystem.type_name != other.filesystem.type_name:
            return False
        mine_parts, its_parts = ([part for part in root.split("/") if part] for root in (self.root, other.root))
        shorter = min(len(mine_parts), len(its_parts))
        return mine_parts[:shorter] == its_parts[:shorter]

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: readers see its whole content or no file."""
        self.write_stream(name, lambda stream: stream.write(content))

    def write_stream(self, name: str, fill: Callable[[Any], object]) -> None:
        """Write a file atomically from a function.

        A local file is written under a temporary name and renamed; an object store shows an upload only when it is
        complete.

        Args:
            name: Name of the file.
            fill: Function that writes the content into a binary stream.
        """
        self._try(lambda: self._write_stream(name, fill))

    def _write_stream(self, name: str, fill: Callable[[Any], object]) -> None:
        target = self.own_path(name)
        if not self.is_local:
            with self.filesystem.open_output_stream(target) as stream:
                fill(stream)
            return
        temporary = Path(f"{target}.{secrets.token_hex(8)}.partial")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            _set_aside(Path(target))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is no such file."""
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
        """Return a file's content as a pyarrow buffer; FileNotFoundError if there is no such file."""
        with self.filesystem.open_input_file(self._path(name)) as file:
            return file.read_buffer()

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        path = self._path(name)
        info = self._try(lambda: self.filesystem.get_file_info(path))
        return bool(info.type != fs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """Return the names in a folder, sorted, without hidden and unfinished files; empty without such a folder."""
        path = self._path(folder)
        entries = self._try(lambda: self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))
        names = (entry.base_name for entry in entries)
        return sorted(name for name in names if not name.startswith(".") and not name.endswith(".partial"))

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file's content; None if there is no such file."""
        path = self._path(name)

        def read() -> str:
            with self.filesystem.open_input_stream(path) as stream:
                return _hashed(stream, lambda _: None)

        try:
            return self._try(read)
        except FileNotFoundError:
            return None

    def copy_to(self, target: "Storage", name: str) -> str:
        """Copy a file to another storage under the same name; return the SHA-256 of the content read."""
        digest = ""

        def fill(stream: Any) -> None:
            nonlocal digest
            with self.filesystem.open_input_stream(self._path(name)) as source:
                digest = _hashed(source, stream.write)

        target.write_stream(name, fill)
        return digest

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and size in bytes of each file below a folder; BadInputError for a link.

        Files that another process deletes meanwhile are left out.
        """
        path = self._path(folder)
        if not self.is_local:
            for info in self.filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True)):
                if info.is_file:
                    yield info.path.removeprefix(f"{self.root}/"), info.size
            return
        for place, folders, names in os.walk(self.own_path(folder, whole=True)):
            for name in (*folders, *names):
                found = Path(place, name)
                if found.is_symlink():
                    raise BadInputError(f"{found}: is a link to {found.readlink()}; take it out of the storage first")
                if name in names and (size := _size(found)) is not None:
                    yield found.relative_to(self.root).as_posix(), size

    def delete(self, name: str) -> None:
        """Delete a file if it exists; BadInputError if its path contains a link.

        Another process may delete the same file at the same time.
        """
        path = self.own_path(name)
        with suppress(FileNotFoundError, NotADirectoryError):
            if self.is_local:
                _set_aside(Path(path))
            self._try(lambda: self.filesystem.delete_file(path))

    def delete_folder(self, name: str) -> None:
        """Delete a folder with its content if it exists; BadInputError if its path contains a link.

        Another process may delete the same folder at the same time.
        """
        path = self.own_path(name, whole=True)
        while self.exists(name):
            with suppress(FileNotFoundError):
                # Of links within, rmtree removes the link and not what it leads to.
                self._try(lambda: shutil.rmtree(path) if self.is_local else self.filesystem.delete_dir(path))

    def address(self, name: str = "") -> str:
        """Return the full address of a file, without credentials, for display, for tags, or for `at`."""
        path = self._path(name)
        if self.is_local:
            return path
        scheme = {"gcs": "gs"}.get(self.filesystem.type_name, self.filesystem.type_name)
        return f"{scheme}://{path}" + (f"?{self.options}" if self.options else "")


def _size(file: Path) -> int | None:
    """Return a file's size in bytes; None if it was deleted meanwhile."""
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return None


def _local(text: str) -> Path:
    """Return a local path in absolute form; BadInputError if it is too long or a link that leads to itself."""
    path = Path(text).expanduser().absolute()
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise BadInputError(f"storage {text!r}: can't be used ({error.strerror}); give another folder") from None
    return path


def _set_aside(target: Path) -> None:
    """Rename a folder in the place of a file to a hidden name beside it, so that its content isn't lost."""
    if target.is_dir() and not target.is_symlink():
        with suppress(FileNotFoundError):  # another process was faster
            target.rename(target.with_name(f".{target.name}.{secrets.token_hex(8)}"))


def _within(folder: Path, other: Path) -> bool:
    """Whether a folder equals another one or is below it, also if a disk is mounted twice."""
    return any(
        place == other or (place.exists() and other.exists() and place.samefile(other))
        for place in (folder, *folder.parents)
    )


def _hashed(source: Any, take: Callable[[bytes], object]) -> str:
    """Return the SHA-256 of a stream, read in pieces."""
    digest = hashlib.sha256()
    while piece := source.read(PIECE_BYTES):
        digest.update(piece)
        take(piece)
    return digest.hexdigest()
