"""Leaks between two prepared stores, kept in a file for each pair of fingerprints, so that each is compared once."""

import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from trainables.data.preparing.store_leaks import StoreLeaks, leaks_between
from trainables.data.store import ImageStore
from trainables.data.store_addresses import data_root, remote_root
from trainables.data.store_info import StoreInfo
from trainables.files.atomic_file import write_atomically

VERSION = 2
"""Version of the comparison, part of the files' names."""
FOLDER = ".leaks"
"""Folder of the files, beside the stores."""


def kept_leaks(pool: StoreInfo, evaluation: StoreInfo, *, fetch: bool = True) -> StoreLeaks | None:
    """Return the leaks between two stores, from their file if they were compared before.

    Args:
        pool: Metadata of the store that is pretrained on.
        evaluation: Metadata of the store whose test split is evaluated.
        fetch: Whether remote stores are copied to this machine to be compared; if not, None is returned for them.
    """
    file = _folder() / f"{VERSION}-{pool.fingerprint[:32]}-{evaluation.fingerprint[:32]}.json"
    with suppress(OSError, ValidationError):  # missing or damaged
        return StoreLeaks.model_validate_json(file.read_bytes())
    if remote_root() is not None and not fetch:
        return None
    found = leaks_between(ImageStore.open(pool.name), ImageStore.open(evaluation.name))
    with suppress(OSError):  # the folder may be read-only
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, found.model_dump_json().encode())
    return found


def _folder() -> Path:
    """Return the folder of the files: among the stores, or in the node cache if the stores are remote."""
    if remote_root() is None:
        return data_root() / FOLDER
    return Path(os.environ.get("SWEEP_CACHE", "~/.cache/sweep/nodes")).expanduser() / FOLDER
