"""Cache of compiled functions in the user's cache folder, keyed by the content of their source.

Numba's default cache is beside the source. Each job that ships its code to a cluster has a new source folder, and would
compile everything again. Cached functions are read with pickle, so the folder is only used if it belongs to the user
alone.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.caching import InTreeCacheLocator

LOCATORS = f"UserProvidedCacheLocator,{__name__}.ContentLocator,InTreeCacheLocator,UserWideCacheLocator"
"""Cache locators in order of priority; NUMBA_CACHE_DIR is first."""
_CONSTANT = (bool, int, float, complex, str, bytes, tuple, np.generic, np.ndarray)


class ContentLocator(InTreeCacheLocator):  # type: ignore[misc]  # numba has no types
    """Numba's locator of a folder that is named by the content of a function's module."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        """Set the folder's path; `from_function` creates it, and returns None if that fails."""
        super().__init__(py_func, py_file)
        self._content = _content(py_func, Path(py_file))
        self._cache_path = str(folder() / self._content)

    def ensure_cache_path(self) -> None:
        """Make the folder; OSError if another user could write into it: numba then tries the next locator."""
        whole = folder()
        whole.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = whole.stat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise PermissionError(f"{whole}: others may write into it")
        super().ensure_cache_path()

    def get_source_stamp(self) -> str:
        """Return the stamp that must match for a cached function to be used."""
        return self._content


def folder() -> Path:
    """Return the folder of all cached functions."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sweep" / "numba"


def _content(function: Callable[..., Any], file: Path) -> str:
    """Return a digest of a module's source and of the constants that it imports, which are compiled into the code."""
    digest = hashlib.sha256(file.read_bytes())
    for name, value in sorted(function.__globals__.items()):
        if isinstance(value, _CONSTANT) and not name.startswith("__"):
            array = np.asarray(value)
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:32]
