"""EuroSAT RGB in its published layout: one folder a class of 64 x 64 JPEGs."""

from functools import partial
from pathlib import Path

from trainables.data.decode import decode_rgb
from trainables.data.known import EUROSAT
from trainables.data.source import Entry, Picture, Source, find_folder
from trainables.data.stable_hash import stratified_split
from trainables.errors import BadInputError

JPEG_SUFFIXES = (".jpg", ".jpeg")


def read_eurosat(folder: Path | None) -> Source:
    """List the images of `folder`: the ten class folders, or the folder that holds them (2750/ in the archive)."""
    if folder is None:
        raise BadInputError(f"eurosat needs --source FOLDER: {EUROSAT.layout}")
    root = find_folder(folder, _has_classes, str(EUROSAT.layout))
    images = [(path, label) for label, name in enumerate(EUROSAT.class_names) for path in _jpegs(root / name)]
    names, labels = [path.name for path, _ in images], [label for _, label in images]
    splits = stratified_split(names, labels, EUROSAT.test_share or 0.0)
    entries = [
        Entry(path.name, split, partial(_read, path, label))
        for (path, label), split in zip(images, splits, strict=True)
    ]
    note = f"no official split: {EUROSAT.test_share:.0%} of each class are test, by a stable hash of the file name"
    return Source(str(root.resolve()), EUROSAT.class_names, entries, (note,))


def _has_classes(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in EUROSAT.class_names)


def _jpegs(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in JPEG_SUFFIXES)
    if not paths:
        raise BadInputError(f"{folder}: expected JPEG images of this class, found none; unpack the archive again")
    return paths


def _read(path: Path, label: int) -> Picture:
    return Picture(decode_rgb(path, EUROSAT.image_size), (label,))
