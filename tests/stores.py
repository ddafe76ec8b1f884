"""Stores for tests: prepared, verified and opened."""

from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.prepare import prepare, verify
from trainables.data.store import ImageStore


def made(name: str, root: Path, **options: Any) -> ImageStore:
    """Prepare, verify and open a store."""
    store_name = prepare(name, root=root, **options).name
    verify(store_name, root)
    return ImageStore.open(store_name, root)


def everything(store: ImageStore) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = range(len(store))
    return store.names(rows), store.images(rows).numpy(), store.label_matrix(rows).numpy()
