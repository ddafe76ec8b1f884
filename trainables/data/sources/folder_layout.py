"""Folder layout of a tree of images: detection of split, class and wrapping folders from the paths alone.

Ambiguous layouts are refused with an error that lists the possible options.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trainables.data.sources.source import some_names
from trainables.data.split_names import NEUTRAL, named_split, splits_in, tokens, two_words
from trainables.errors import BadInputError

Folders = tuple[str, ...]
UNLABELLED = frozenset(("unlabelled", "unlabeled", "unlabel", "unsup", "unsupervised"))
"""Names of folders with unlabelled images for pretraining."""
NO_SPLIT = frozenset(("pred", "predict", "unknown"))
"""Names of folders beside train/ and test/ that are left out, since they hold images for prediction."""
MASKS = frozenset(
    (
        *("mask", "masks", "label", "labels", "annotation", "annotations", "gt", "groundtruth", "truth"),
        *("seg", "segmentation", "segmentations", "target", "targets", "depth", "bbox", "boxes"),
    )
)
"""Words in the names of folders beside images/ that contain masks or labels of these images, not a class."""
WAYS_OUT = (
    "rename or move folders, say with --class-level N which one names the class (1 is the first), or give --table"
)


@dataclass(frozen=True)
class PlacedImage:
    """Image path, with class and split from its folders."""

    path: str
    label: str | None
    """Class name; None outside class folders."""
    split: str | None


@dataclass(frozen=True)
class FolderLayout:
    """Images with classes and splits, and descriptions of how they were found."""

    images: list[PlacedImage]
    classes_from: str
    splits_from: str
    """Origin of the splits; empty if no folder names a split."""
    class_parents: list[str]
    """Parent folders of the class folders."""
    root: str
    """Common wrapping folder, such as "pets/"; not part of the images' names."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of images outside class folders, by reason."""


def read_layout(where: str, paths: Sequence[str], class_level: int | None = None) -> FolderLayout:
    """Read the layout <class>/..., <split>/<class>/... or <class>/<split>/..., below common wrapping folders.

    Without `class_level`, images in a folder `unlabelled` or beside class folders are unlabelled. Beside split folders,
    such images belong to train.

    Args:
        where: Name of the source, for messages.
        paths: Relative paths of the images.
        class_level: Level of the folder that names the class, 1 directly below the source; None to detect it.

    Raises:
        BadInputError: The layout is ambiguous; the message names the folders.
    """
    everything = {path: tuple(path.split("/")[:-1]) for path in paths}
    folders = {path: own for path, own in everything.items() if class_level or not any(map(names_unlabelled, own))}
    if not folders:
        return FolderLayout([PlacedImage(path, None, None) for path in paths], "", "", [], "")
    depth = _split_depth(where, set(folders.values()), class_level)
    left_out: Counter[str] = Counter()
    kept = dict(folders) if depth is None else _labelled(where, folders, depth, left_out)
    splits = {} if depth is None else _split_names({own[depth] for own in kept.values()})
    level, told = (class_level - 1, f"folder {class_level}") if class_level else _class_level(where, kept, depth)
    images = []
    for path, own in kept.items():
        if len(own) <= level and class_level:
            raise BadInputError(
                f"{where}: {path}: isn't in a folder of level {class_level}; move it, or give --table FILE"
            )
        label = own[level] if len(own) > level else None
        images.append(PlacedImage(path, label, None if depth is None else splits[own[depth]]))
    images += _unlabelled({path: everything[path] for path in everything.keys() - folders.keys()}, depth, splits)
    if class_level is None:
        _refuse_masks(where, {image.label for image in images if image.label is not None})
    parents = sorted({"/".join(own[:level]) for own in kept.values() if len(own) > level})
    above = _common(set(folders.values()))[: level if depth is None else min(level, depth)]
    return FolderLayout(
        images,
        told,
        f"the folders {_listed(splits)}" if splits else "",
        parents,
        "".join(f"{name}/" for name in above),
        left_out,
    )


def names_unlabelled(folder: str) -> bool:
    """Return whether a folder's name marks its images as unlabelled."""
    return tuple(tokens(folder)) in {(word,) for word in UNLABELLED}


def _unlabelled(folders: Mapping[str, Folders], depth: int | None, splits: Mapping[str, str]) -> list[PlacedImage]:
    """Return the images in folders `unlabelled`, in the split of a parent folder, else in train."""
    return [
        PlacedImage(path, None, None if depth is None else _split_above(own, splits))
        for path, own in sorted(folders.items())
    ]


def _split_above(folders: Folders, splits: Mapping[str, str]) -> str:
    return next((splits[name] for name in folders if name in splits), "train")


def _split_depth(where: str, folders: set[Folders], class_level: int | None) -> int | None:
    """Return the depth of the split folder in each path; None if there is none."""
    levels = ({own[depth] for own in folders} for depth in range(min(map(len, folders), default=0)))
    wholly = {depth: known for depth, names in enumerate(levels) if (known := _split_names(names, whole=True))}
    if wholly:
        depth = max(wholly, key=lambda one: (len(set(wholly[one].values())), -one))
        _refuse_two_readings(where, folders, wholly)
        _refuse_two_words(where, wholly[depth])
        return depth if depth + 1 != class_level else None
    start = len(_common(folders))
    tops = {own[start] for own in folders if len(own) > start}
    known = _split_names(tops)
    if class_level != start + 1 and any(len(own) > start + 1 and own[start] in known for own in folders):
        _refuse_two_words(where, known)
        _refuse_unknown_beside(where, folders, start, known)
        return start
    if class_level is None:
        _refuse_half_known(where, folders)
    return None


def _split_names(names: Iterable[str], *, whole: bool = False) -> dict[str, str]:
    """Return the split of each folder that names one; with `whole`, an empty result unless all do.

    Names with a common additional word are splits too, such as seg_train and seg_test.
    """
    names = set(names)
    found = {name: split for name in names if (split := named_split(name))}
    beside: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names - found.keys():
        if len(said := splits_in(name)) == 1 and name.isascii():
            rest = tuple(word for word in tokens(name) if word not in NEUTRAL and not splits_in(word))
            beside.setdefault(rest, {})[name] = said.pop()
    for alike in beside.values():
        found |= alike if len(set(alike.values())) > 1 else {}
    return found if not whole or len(found) == len(names) else {}


def _refuse_two_words(where: str, known: Mapping[str, str]) -> None:
    """Raise BadInputError if two folders name the same split, such as test/ and eval/."""
    if found := two_words(known):
        split, names = found
        raise BadInputError(f"{where}: the folders {_listed(names)} all name the {split} split; {WAYS_OUT}")


def _refuse_two_readings(where: str, folders: set[Folders], wholly: Mapping[int, Mapping[str, str]]) -> None:
    several = [depth for depth, known in wholly.items() if len(set(known.values())) > 1]
    for own in sorted(folders):
        said = {wholly[depth][own[depth]] for depth in several}
        if len(said) > 1:
            raise BadInputError(f"{where}: {'/'.join(own)} names two splits; {WAYS_OUT}")


def _refuse_unknown_beside(where: str, folders: set[Folders], start: int, known: Mapping[str, str]) -> None:
    """Raise BadInputError for a folder beside split folders that contains class folders but isn't a split."""
    tops = {own[start] for own in folders if len(own) > start + 1} - known.keys()
    unknown = [top for top in tops if NO_SPLIT.isdisjoint(tokens(top))]
    if unknown:
        raise BadInputError(
            f"{where}: {_listed(known)} name splits, but {_listed(unknown)} beside them, which also contain folders "
            f"of images, don't; {WAYS_OUT}"
        )


def _refuse_half_known(where: str, folders: set[Folders]) -> None:
    """Raise BadInputError if a folder holds two splits that don't cover all images."""
    below: dict[Folders, set[str]] = {}
    for own in folders:
        for depth in range(len(own)):
            below.setdefault(own[:depth], set()).add(own[depth])
    for parent, names in sorted(below.items()):
        known = _split_names(names)
        if len(set(known.values())) > 1:
            beside = sorted(names - known.keys())
            also = f" beside {_listed(beside)}" if beside else ""
            raise BadInputError(
                f"{where}: {'/'.join(parent) or 'the source'} holds {_listed(known)}{also}: splits of some images and "
                f"not of all, or without class folders; {WAYS_OUT}"
            )
        alone = sorted(name for name, split in known.items() if split != "train")
        if alone and len(names) > 1:
            raise BadInputError(
                f"{where}: {_listed(alone)} beside {_listed(names - known.keys())}: a class of that name, or images of "
                f"the {known[alone[0]]} split without class folders? {WAYS_OUT}"
            )


def _refuse_masks(where: str, labels: set[str]) -> None:
    """Raise BadInputError if the classes would be folders such as images/ and masks/."""
    pictures = [label for label in labels if (words := tokens(label)) and NEUTRAL.issuperset(words)]
    masks = [label for label in labels if not MASKS.isdisjoint(tokens(label))]
    if pictures and masks:
        raise BadInputError(
            f"{where}: {_listed(sorted(masks))} beside {_listed(sorted(pictures))} look like masks of the images, and "
            f"not like classes; give the folder of the images as --source, or {WAYS_OUT}"
        )


def _labelled(where: str, folders: Mapping[str, Folders], depth: int, left_out: Counter[str]) -> dict[str, Folders]:
    """Return the images with a split and a class; count the others by reason."""
    known = _split_names({own[depth] for own in folders.values() if len(own) > depth})
    kept = {}
    for path, own in folders.items():
        if len(own) <= depth:
            raise BadInputError(f"{where}: {path}: lies in no split's folder; move it, or give --table FILE")
        if own[depth] in known:
            kept[path] = own
        else:
            left_out[f"in {own[depth]}/, which is no split"] += 1
    if depth > len(_common(set(folders.values()))):
        return kept
    classed = {own[depth] for own in kept.values() if len(own) > depth + 1}
    if not classed:
        return kept  # a pool with its own splits
    for own in kept.values():
        if own[depth] not in classed:
            left_out[f"in {own[depth]}/, which has no class folders and so no labels"] += 1
    return {path: own for path, own in kept.items() if own[depth] in classed}


def _class_level(where: str, folders: Mapping[str, Folders], depth: int | None) -> tuple[int, str]:
    """Return the 0-based depth of the class folder in each path, and a description of the classes' origin."""
    several = set(folders.values())
    over = depth is not None and depth > len(_common(several))  # <class>/<split>/...
    rests = {own: own if depth is None else own[: depth if over else 0] + own[depth + 1 :] for own in several}
    rests, wrapping = _unwrapped(rests, None if over else depth)
    _refuse_two_levels(where, set(rests.values()))
    told = "the names of their folders"
    if wrapping:
        told += f" (within {'/'.join(wrapping)}/)"
    if deeper := {"/".join(rest) for rest in rests.values() if len(rest) > 1}:
        told += f"; the folders below those ({_listed(deeper)}) say nothing"
    start = 0 if depth is None or over else depth + 1
    return start + len(wrapping), told


def _unwrapped(rests: dict[Folders, Folders], depth: int | None) -> tuple[dict[Folders, Folders], list[str]]:
    """Remove wrapping folders, one for all images or one per split, and return their names too."""
    wrapping: list[str] = []
    while min(map(len, rests.values()), default=0) > 1:
        tops: dict[str, set[str]] = {}
        for own, rest in rests.items():
            tops.setdefault("" if depth is None else own[depth], set()).add(rest[0])
        names = sorted(set().union(*tops.values()))
        if len(names) > 1 and max(map(len, tops.values())) > 1:
            break
        wrapping.append("/, ".join(names))
        rests = {own: rest[1:] for own, rest in rests.items()}
    return rests, wrapping


def _refuse_two_levels(where: str, rests: set[Folders]) -> None:
    """Raise BadInputError if two folder levels could name the class."""
    inner: dict[str, set[str]] = {}
    for rest in rests:
        inner.setdefault(rest[0] if rest else "", set()).add(rest[1] if len(rest) > 1 else "")
    flat = sorted(top for top, names in inner.items() if "" in names)
    if len(inner) == 1 and flat and len(inner[flat[0]]) > 1:
        raise BadInputError(
            f"{where}: {_listed(flat)} holds images, and folders of images ({_listed(inner[flat[0]] - {''})}): is it "
            f"the class, or are they? {WAYS_OUT}"
        )
    below = Counter(rest[0] for rest in rests if rest)
    nested = sorted(top for top, names in inner.items() if "" not in names and below[top] > 1)
    if flat and nested:
        raise BadInputError(
            f"{where}: {_listed(nested)} hold folders ({_listed(inner[nested[0]])}), {_listed(flat)} images: which "
            f"name the classes? {WAYS_OUT}"
        )
    uses = Counter(name for names in inner.values() for name in names)
    shared = sorted(name for name, count in uses.items() if count > 1)
    if not flat and len(uses) > 1 and shared:
        raise BadInputError(
            f"{where}: the folders {_listed(inner)} all hold {_listed(shared)}: either may name the class or the "
            f"split; {WAYS_OUT}"
        )


def _common(folders: set[Folders]) -> Folders:
    """Return the common leading folders of all paths, without the last folder."""
    shortest = min(folders, key=len, default=())
    common: Folders = ()
    for depth in range(len(shortest)):
        if len({own[: depth + 1] for own in folders}) > 1:
            break
        common = shortest[: depth + 1]
    return common


def _listed(names: Iterable[str]) -> str:
    return some_names([f"{name}/" for name in names])
