"""Tiny ImageNet in its published layout: train/ and the labelled val/, which is the test split as in the thesis."""

from collections import Counter
from functools import partial
from pathlib import Path

from trainables.data.decode import decode_rgb
from trainables.data.known import TINY_IMAGENET
from trainables.data.source import Entry, Picture, Source, find_folder, sub_folders
from trainables.errors import BadInputError

VAL_ANNOTATIONS = Path("val", "val_annotations.txt")
WORDS = "words.txt"


def read_tiny_imagenet(folder: Path | None) -> Source:
    """List the images of `folder`: tiny-imagenet-200, or the folder that holds it.

    Classes are the folders of train/ in the order of their WordNet ids; labels are indices into that order.
    """
    if folder is None:
        raise BadInputError(f"tiny_imagenet needs --source FOLDER: {TINY_IMAGENET.layout}")
    root = find_folder(folder, _has_layout, str(TINY_IMAGENET.layout))
    wnids = [path.name for path in sub_folders(root / "train")]
    if not wnids:
        raise BadInputError(f"{root / 'train'}: expected a folder for each class, found none")
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    entries = [*_train_entries(root, labels), *_val_entries(root, labels)]
    return Source(str(root.resolve()), _class_names(root / WORDS, wnids), entries, _notes(root))


def _has_layout(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / VAL_ANNOTATIONS).is_file() and (folder / WORDS).is_file()


def _notes(root: Path) -> tuple[str, ...]:
    notes = ["val/ is the test split; the published test/ has no labels and is not used"]
    if (root / "test").is_dir():
        notes.append("test/ found and ignored")
    return tuple(notes)


def _train_entries(root: Path, labels: dict[str, int]) -> list[Entry]:
    entries = []
    for wnid, label in labels.items():
        paths = sorted((root / "train" / wnid / "images").glob("*.JPEG"))
        if not paths:
            raise BadInputError(f"{root / 'train' / wnid / 'images'}: expected *.JPEG of this class, found none")
        entries += [Entry(path.name, "train", partial(_read, path, label)) for path in paths]
    return entries


def _val_entries(root: Path, labels: dict[str, int]) -> list[Entry]:
    annotations = root / VAL_ANNOTATIONS
    images = root / "val" / "images"
    entries = []
    for number, line in enumerate(_lines(annotations), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in labels:
            raise BadInputError(f"{annotations}:{number}: class {wnid!r} has no folder in {root / 'train'}")
        entries.append(Entry(name, "test", partial(_read, images / name, labels[wnid])))
    unlabelled = {path.name for path in images.glob("*.JPEG")} - {entry.name for entry in entries}
    if unlabelled:
        raise BadInputError(f"{images / min(unlabelled)}: has no line in {annotations}; restore the original file")
    return entries


def _class_names(words: Path, wnids: list[str]) -> tuple[str, ...]:
    """Return the first human name of each class; the WordNet id goes with it where two classes share one."""
    lines = (line.partition("\t") for line in _lines(words))
    human = {wnid: names.split(",")[0].strip() for wnid, _, names in lines}
    names = [human.get(wnid) or wnid for wnid in wnids]
    uses = Counter(names)
    return tuple(name if uses[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: not a text file ({error}); restore the original file") from error


def _read(path: Path, label: int) -> Picture:
    return Picture(decode_rgb(path, TINY_IMAGENET.image_size), (label,))
