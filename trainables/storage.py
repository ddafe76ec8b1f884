"""Small files under one address: a local folder, NFS, or an object store, through pyarrow.fs."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from trainables.errors import BadInputError


@dataclass(frozen=True)
class Storage:
    """A folder of a file system; picklable, so that workers get it as it is. `root` has no trailing slash."""

    filesystem: fs.FileSystem
    root: str

    @classmethod
    def at(cls, address: str | Path) -> "Storage":
        """Return the storage at a local path or a URI (s3://, gs://, file://)."""
        text = str(address)
        if "://" not in text:
            text = Path(text).expanduser().absolute().as_uri()
        try:
            filesystem, root = fs.FileSystem.from_uri(text)
        except (ValueError, OSError) as error:
            raise BadInputError(f"storage {str(address)!r}: not a path or URI that pyarrow opens ({error})") from error
        return cls(filesystem, root.rstrip("/"))

    def child(self, name: str) -> "Storage":
        """Return the folder `name` below this one."""
        return Storage(self.filesystem, f"{self.root}/{name}")

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
        target = f"{self.root}/{name}"
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
        try:
            with self.filesystem.open_input_stream(f"{self.root}/{name}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        found: bool = self.filesystem.get_file_info(f"{self.root}/{name}").type != fs.FileType.NotFound
        return found

    def names(self, folder: str = "") -> list[str]:
        """Return the names in a folder, sorted, without those still being written; empty when it doesn't exist."""
        path = f"{self.root}/{folder}".rstrip("/")
        entries = self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(entry.base_name for entry in entries if not entry.base_name.endswith(".partial"))

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(f"{self.root}/{name}")

    def address(self, name: str = "") -> str:
        """Return the full address of a file, for a person or a tag."""
        path = f"{self.root}/{name}".rstrip("/")
        return path if self.is_local else f"{self.filesystem.type_name}://{path}"
