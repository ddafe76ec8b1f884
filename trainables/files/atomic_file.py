"""Atomic writing of single files on a disk."""

import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that other processes never read a part of it; a link is replaced, not its target."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
