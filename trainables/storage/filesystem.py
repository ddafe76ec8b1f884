"""Small files under one address: a local folder, NFS, or an object store, through pyarrow.fs."""

import hashlib
import os
import secrets
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import fs

from trainables.errors import BadInputError
from trainables.redaction import secret_part

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt of an operation; the last one again and again."""
PIECE_BYTES = 2**22
T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """A folder of a file system; picklable, so that workers get it as it is. `root` has no trailing slash."""

    filesystem: fs.FileSystem
    root: str
    patience: float = 0.0
    """Seconds for which an operation is tried again while the storage is away: raises OSError."""
    options: str = ""
    """Query of a URI: an object store's endpoint, region."""

    @classmethod
    def at(cls, address: str | Path) -> "Storage":
        """Return the storage at a local path or a URI (s3://, gs://, file://)."""
        text = str(address)
        if "://" not in text:
            text = Path(text).expanduser().absolute().as_uri()
        if secret := secret_part(text):
            raise BadInputError(
                f"storage {text}: has {secret}; credentials belong in the environment or a file, as an address is kept"
            )
        try:
            filesystem, root = fs.FileSystem.from_uri(text)
        except (ValueError, OSError) as error:
            raise BadInputError(f"storage {str(address)!r}: not a path or URI that pyarrow opens ({error})") from error
        return cls(filesystem, root.rstrip("/"), options=urllib.parse.urlsplit(text).query)

    def child(self, name: str) -> "Storage":
        """Return the folder `name` below this one."""
        return replace(self, root=self._path(name))

    def patient(self, seconds: float) -> "Storage":
        """Return the same storage, whose operations wait so long for it where it is away."""
        return replace(self, patience=seconds)

    def _path(self, name: str) -> str:
        """Return the path of a name; BadInputError when it isn't below the root."""
        parts = name.split("/") if name else []
        if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise BadInputError(f"storage {self.root}: the name {name!r} leaves it, or is no name of a file")
        return "/".join([self.root, *parts])

    def own_path(self, name: str, *, whole: bool = False) -> str:
        """Return the path of a name to write or delete; BadInputError where a link leads it out of the root.

        `whole`: a folder with all that is below it, so it is no link itself. A file that is a link is itself replaced.
        """
        path = self._path(name)
        if self.is_local:
            root = os.path.realpath(self.root)
            place = os.path.realpath(path if whole else os.path.dirname(path))  # noqa: PTH120
            if not name or os.path.commonpath([root, place]) != root:
                raise BadInputError(f"storage {self.root}: {name!r} lies behind a link, in {place}: left alone")
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
        """Whether the files lie in a file system of this machine (NFS counts)."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def overlaps(self, other: "Storage") -> bool:
        """Whether one's root is the other's, or lies within it, by whatever links and spellings."""
        if self.is_local and other.is_local:
            mine, its = (Path(os.path.realpath(root)) for root in (self.root, other.root))
            return _within(mine, its) or _within(its, mine)
        if self.filesystem.type_name != other.filesystem.type_name:
            return False
        mine_parts, its_parts = ([part for part in root.split("/") if part] for root in (self.root, other.root))
        shorter = min(len(mine_parts), len(its_parts))
        return mine_parts[:shorter] == its_parts[:shorter]

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader sees all of it or none."""
        self.write_stream(name, lambda stream: stream.write(content))

    def write_stream(self, name: str, fill: Callable[[Any], object]) -> None:
        """As `write`, for content that `fill` writes into a binary stream.

        Locally under a temporary name and then moved; an object store shows an upload only when it is whole.
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
        """Return the names in a folder, sorted, without hidden ones and those that are being written.

        An empty list when it doesn't exist.
        """
        path = self._path(folder)
        entries = self._try(lambda: self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)))
        names = (entry.base_name for entry in entries)
        return sorted(name for name in names if not name.startswith(".") and not name.endswith(".partial"))

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file's content, or None when there is no such file."""
        path = self._path(name)

        def read() -> str:
            with self.filesystem.open_input_stream(path) as stream:
                return _hashed(stream, lambda _: None)

        try:
            return self._try(read)
        except FileNotFoundError:
            return None

    def copy_to(self, target: "Storage", name: str) -> str:
        """Copy a file to another storage under the same name; return the SHA-256 of what was read."""
        digest = ""

        def fill(stream: Any) -> None:
            nonlocal digest
            with self.filesystem.open_input_stream(self._path(name)) as source:
                digest = _hashed(source, stream.write)

        target.write_stream(name, fill)
        return digest

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield the files below a folder by their names in the storage, with their sizes; BadInputError for a link."""
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
                if name in names:
                    yield found.relative_to(self.root).as_posix(), found.stat().st_size

    def delete(self, name: str) -> None:
        """Remove a file if it is there; BadInputError where it lies behind a link."""
        path = self.own_path(name)
        if self.is_local:
            _set_aside(Path(path))
        if self.exists(name):
            self._try(lambda: self.filesystem.delete_file(path))

    def delete_folder(self, name: str) -> None:
        """Remove a folder with all that is in it, if it is there; BadInputError where it lies behind a link."""
        path = self.own_path(name, whole=True)
        if not self.exists(name):
            return
        # Of links within, rmtree removes the link and not what it leads to.
        self._try(lambda: shutil.rmtree(path) if self.is_local else self.filesystem.delete_dir(path))

    def address(self, name: str = "") -> str:
        """Return the full address of a file, for a person, a tag, or `at`; it holds no credentials."""
        path = self._path(name)
        if self.is_local:
            return path
        scheme = {"gcs": "gs"}.get(self.filesystem.type_name, self.filesystem.type_name)
        return f"{scheme}://{path}" + (f"?{self.options}" if self.options else "")


def _set_aside(target: Path) -> None:
    """Rename a folder that lies where a file belongs, to a hidden name beside it: it may hold something."""
    if target.is_dir() and not target.is_symlink():
        target.rename(target.with_name(f".{target.name}.{secrets.token_hex(8)}"))


def _within(folder: Path, other: Path) -> bool:
    """Whether a folder is another one or lies below it; also where a disk is mounted at two places."""
    return any(
        place == other or (place.exists() and other.exists() and place.samefile(other))
        for place in (folder, *folder.parents)
    )


def _hashed(source: Any, take: Callable[[bytes], object]) -> str:
    """Return the SHA-256 of a stream, which is read a piece after the other."""
    digest = hashlib.sha256()
    while piece := source.read(PIECE_BYTES):
        digest.update(piece)
        take(piece)
    return digest.hexdigest()
