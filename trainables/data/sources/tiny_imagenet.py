"""Tiny ImageNet in its published layout; the labelled val/ is the test split, as in the thesis."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from trainables.data.dataset_facts import TINY_IMAGENET
from trainables.data.sources.decode import decode_rgb
from trainables.data.sources.file_tree import FileTree, open_tree
from trainables.data.sources.layout import file_of, find_root, located
from trainables.data.sources.source import File, ImageEntry, ImageSource, LabelledImage, PrepareRequest, digest_of
from trainables.errors import BadInputError

VAL_ANNOTATIONS = "val/val_annotations.txt"
WORDS = "words.txt"
SUFFIX = ".JPEG"


@dataclass(frozen=True)
class _Image:
    path: str
    label: str
    split: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


def read_tiny_imagenet(request: PrepareRequest) -> ImageSource:
    """List the images of tiny-imagenet-200.

    Classes are the folders of train/ in the order of their WordNet ids; labels are indices into that order.

    Args:
        request: Request whose source is the folder, its parent folder, or the zip.

    Raises:
        BadInputError: No or another layout.
    """
    tree = open_tree(request.required_source())
    paths = tree.names()
    root = find_root(tree, paths, _is_root, str(TINY_IMAGENET.layout))
    own = [path.removeprefix(root) for path in paths if path.startswith(root)]
    wnids = sorted({path.split("/")[1] for path in own if path.startswith("train/") and path.count("/") > 1})
    if not wnids:
        raise BadInputError(f"{tree.location}: {root}train: expected a folder for each class, found none")
    names = _class_names(tree, root, wnids)
    images = [*_train(tree, root, own, wnids), *_validation(tree, root, own, wnids)]
    images = [image for image in images if request.wants(image.name)]

    def entries() -> Iterator[ImageEntry]:
        for image in images:
            read = partial(_read, file_of(tree, root + image.path), names[image.label])
            yield ImageEntry(image.name, read, image.split)

    listed = (f"{image.name} {image.label} {image.split}" for image in images)
    return ImageSource(
        located(tree, root),
        tuple(names.values()),
        entries,
        len(images),
        _notes(own),
        decisions={
            "classes": f"{len(names):,} by the folders of train/ and {WORDS}",
        },
        left_out=lambda: _unused(tree, own),
        splits_from="train/, and val/ as test",
        state=digest_of(tree.state(root + image.path for image in images), *listed),
    )


def _is_root(paths: set[str]) -> bool:
    return VAL_ANNOTATIONS in paths and WORDS in paths and any(path.startswith("train/") for path in paths)


def _notes(paths: list[str]) -> tuple[str, ...]:
    notes = ["val/ is the test split, as in the thesis; the published test/ has no labels and is not used"]
    unlabelled = sum(path.startswith("test/") for path in paths)
    if unlabelled:
        notes.append(f"test/ found and ignored ({unlabelled:,} images)")
    return tuple(notes)


def _is_image(path: str, folder: str) -> bool:
    return path.startswith(folder) and path.endswith(SUFFIX)


def _unused(tree: FileTree, paths: list[str]) -> Counter[str]:
    """Return counts, by reason, of files in train/ and val/ that are neither images nor the layout's tables."""
    reasons = Counter(tree.left_out)
    for path in paths:
        folder, _, rest = path.partition("/")
        if folder == "train" and not (path.endswith("_boxes.txt") or (rest.count("/") == 2 and path.endswith(SUFFIX))):
            reasons[f"in train/ and no *{SUFFIX}"] += 1
        elif folder == "val" and not (path == VAL_ANNOTATIONS or _is_image(path, "val/images/")):
            reasons[f"in val/ and no *{SUFFIX}"] += 1
    return reasons


def _train(tree: FileTree, root: str, paths: list[str], wnids: list[str]) -> list[_Image]:
    images = []
    for path in paths:
        parts = path.split("/")
        if len(parts) == 4 and parts[0] == "train" and parts[2] == "images" and path.endswith(SUFFIX):
            images.append(_Image(path, parts[1], "train"))
    found = {image.label for image in images}
    for wnid in wnids:
        if wnid not in found:
            raise BadInputError(
                f"{tree.location}: {root}train/{wnid}/images: expected *.JPEG of this class, found none"
            )
    return images


def _validation(tree: FileTree, root: str, paths: list[str], wnids: list[str]) -> list[_Image]:
    known, images = set(wnids), []
    for number, line in enumerate(_lines(tree, root + VAL_ANNOTATIONS), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in known:
            raise BadInputError(
                f"{tree.location}: {VAL_ANNOTATIONS}:{number}: class {wnid!r} has no folder in {root}train"
            )
        images.append(_Image(f"val/images/{name}", wnid, "test"))
    unlabelled = {path for path in paths if _is_image(path, "val/images/")} - {image.path for image in images}
    if unlabelled:
        raise BadInputError(
            f"{tree.location}: {root}{min(unlabelled)}: has no line in {VAL_ANNOTATIONS}; restore the original file"
        )
    return images


def _class_names(tree: FileTree, root: str, wnids: list[str]) -> dict[str, str]:
    """Return the first English name of each class, followed by its WordNet id if two classes share the name."""
    lines = (line.partition("\t") for line in _lines(tree, root + WORDS))
    human = {wnid: names.split(",")[0].strip() for wnid, _, names in lines}
    names = {wnid: human.get(wnid) or wnid for wnid in wnids}
    uses = Counter(names.values())
    return {wnid: name if uses[name] == 1 else f"{name} ({wnid})" for wnid, name in names.items()}


def _lines(tree: FileTree, path: str) -> list[str]:
    try:
        text: str = tree.read(path).decode("utf-8")
        return text.splitlines()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{tree.location}: {path}: not a text file ({error}); restore the original file") from error


def _read(file: File, label: str) -> LabelledImage:
    return LabelledImage(decode_rgb(file, TINY_IMAGENET.image_size), (label,))
