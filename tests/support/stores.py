"""Stores for tests: prepared, verified and opened; nothing here needs more than PyTorch, pyarrow and pydantic."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image  # torchvision brings it

from trainables.data.preparing.prepare import prepare
from trainables.data.preparing.verify import verify
from trainables.data.store import ImageStore


def made(name: str, root: Path, **options: Any) -> ImageStore:
    """Prepare, verify and open a store."""
    store_name = prepare(name, root=root, **options).name
    verify(store_name, root)
    return ImageStore.open(store_name, root)


def everything(store: ImageStore) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = range(len(store))
    return store.names(rows), store.images(rows).numpy(), store.label_matrix(rows).numpy()


def of_noise(root: Path, *, each: int = 24) -> ImageStore:
    """Three classes of `each` noisy pictures of 40 x 40 pixels in their own colours, a third of them for test."""
    random = np.random.default_rng(0)
    for number in range(3 * each):
        label, split = number % 3, "test" if number < each else "train"
        path = root / "pictures" / split / "abc"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 200, (40, 40, 3)) + 50 * np.eye(3, dtype=np.int64)[label]
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return made("folder", root, source=root / "pictures", store_name="noise")


def of_seasons(root: Path, *, dates: int = 3) -> ImageStore:
    """Patches of 20 x 20 pixels: 13 places in train at `dates` dates, one place at one; 12 for test."""
    random = np.random.default_rng(1)
    visits = [("train", place, date) for place in range(14) for date in range(dates if place < 13 else 1)]
    visits += [("test", place, 0) for place in range(20, 32)]
    for split, place, date in visits:
        day = f"2017{(date + 1) * 3:02d}13"
        path = root / "patches" / split / "abc"[place % 3]
        path.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 120, (20, 20, 3)) + 40 * np.eye(3, dtype=np.int64)[place % 3] + 40 * date
        Image.fromarray(pixels.astype(np.uint8)).save(path / f"S2A_MSIL2A_{day}T101031_N9999_R022_T34VER_{place}_5.png")
    return made("folder", root, source=root / "patches", store_name="seasons")
