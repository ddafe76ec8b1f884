"""BigEarthNet-S2 v1.0 and v2.0 (reBEN): one folder per patch with one TIFF per band, in a folder or a tar.

In v1.0 each patch has a JSON file with its labels. In v2.0 patches are grouped by tile, and a table holds the labels.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.class_names import LABELS_19, LABELS_43, PARTS_OF_19
from trainables.data.dataset_facts import BIGEARTHNET_V1, FARMLAND_CLASSES
from trainables.data.patch_names import tile_position
from trainables.data.sources.archive import archive_state, is_tar, stream_tar
from trainables.data.sources.bigearthnet_lists import PatchLists, v1_lists, v2_lists
from trainables.data.sources.decode import decode_band, load
from trainables.data.sources.file_tree import file_states, junk
from trainables.data.sources.source import (
    ArchiveFile,
    File,
    ImageEntry,
    ImageSource,
    LabelledImage,
    PrepareRequest,
    digest_of,
    some_names,
)
from trainables.errors import BadInputError

SIDE = 120
"""Side of a patch in pixels at 10 m; bands of 20 m and 60 m have sides of 60 and 20."""
PROBED_FOLDERS = 20
"""Number of sub-folders inspected to recognise the layout; the full data set has 590,326."""
V1_LABELS = "labels_metadata.json"
KNOWN_43 = frozenset(LABELS_43)
LABEL_OF_19 = {LABELS_43[part]: LABELS_19[index] for index, parts in enumerate(PARTS_OF_19) for part in parts}


def read_bigearthnet_v1(request: PrepareRequest) -> ImageSource:
    """Return the source for BigEarthNet v1.0, from its tar.gz, its folder, or that folder's parent."""
    return _list(request, v1_lists(request), levels=1)


def read_bigearthnet_v2(request: PrepareRequest) -> ImageSource:
    """Return the source for BigEarthNet-S2 v2.0, from its tar.zst, its folder, or that folder's parent."""
    return _list(request, v2_lists(request), levels=2)


def _list(request: PrepareRequest, lists: PatchLists, *, levels: int) -> ImageSource:
    source = request.required_source()
    seen: set[str] = set()
    position = [0, 1]
    notes: tuple[str, ...] = ()
    strays: list[str] = []
    stray_files: Counter[str] = Counter()
    excluded: set[str] = set()
    unlisted: set[str] = set()
    names: list[str] = []

    @lru_cache(maxsize=1024)  # called for each file of a patch
    def wants(patch: str) -> bool:
        if patch in lists.excluded:
            excluded.add(patch)
            return False
        seen.add(patch)
        listed = lists.splits is None or patch in lists.splits
        if not listed:
            unlisted.add(patch)
        return listed and request.wants(patch)

    def hear(done: int, total: int) -> None:
        position[:] = done, total

    if source.is_file() and is_tar(source):
        location, count, state = str(source.resolve()), None, archive_state(source)
        entries = partial(_of_tar, request, lists, wants, hear, stray_files)
    else:
        root = _find_root(request, levels)
        patches = [patch for patch in _patches(root, levels, strays) if wants(patch.name)]
        location, count = str(root.resolve()), len(patches)
        names, wanted = [patch.name for patch in patches], _wanted_files(request, lists)
        state = file_states(f"{patch}/{patch.name}_{name}" for patch in patches for name in wanted)
        notes = _absent(lists, seen)
        entries = partial(_of_folder, request, lists, patches)
    return ImageSource(
        location=location,
        class_names=request.facts.label_sets[request.options.labels],
        entries=entries,
        count=count,
        notes=(*_label_notes(request), *notes),
        multi_label=request.options.labels != "farmland",
        rules=request.facts.label_rules[request.options.labels],
        total=lambda: len(seen),
        classify=_classifier(request),
        position=lambda: (position[0], position[1]),
        decisions={"classes": _classes_told(request, lists)},
        left_out=lambda: _left_out(strays, excluded, unlisted) + stray_files,
        splits_from="" if lists.splits is None else "the official lists",
        state=digest_of(state, lists.state, *names),
    )


def _classes_told(request: PrepareRequest, lists: PatchLists) -> str:
    own = "v2's tables" if lists.labels is not None else f"the patches' {V1_LABELS}"
    return f"the {request.options.labels} labels, from {own}"


def _left_out(strays: Sequence[str], excluded: Collection[str], unlisted: Collection[str]) -> Counter[str]:
    reasons = {
        f"folders that are no patches ({some_names(strays)})": len(strays),
        "patches on the lists of --exclude": len(excluded),
        "patches in none of the official splits": len(unlisted),
    }
    return Counter(reasons)


def _of_folder(request: PrepareRequest, lists: PatchLists, patches: Sequence[Path]) -> Iterator[ImageEntry]:
    wanted = _wanted_files(request, lists)
    for patch in patches:
        yield _entry(request, lists, patch.name, {name: f"{patch}/{patch.name}_{name}" for name in wanted})


def _of_tar(
    request: PrepareRequest,
    lists: PatchLists,
    wants: Callable[[str], bool],
    hear: Callable[[int, int], None],
    stray_files: Counter[str],
) -> Iterator[ImageEntry]:
    """Collect the files of each patch from the stream; only incomplete patches stay in memory.

    Files that don't belong to a patch are counted by reason in `stray_files`.
    """
    source = request.required_source()
    wanted = _wanted_files(request, lists)
    begun: dict[str, dict[str, File]] = {}
    stray_files.clear()

    def takes(path: str) -> bool:
        if (reason := _reason_left_out(path)) is not None:
            stray_files[reason] += 1
            return False
        return _is_wanted(path, wanted, wants)

    for path, content in stream_tar(source, takes, progress=hear):
        patch = path.split("/")[-2]
        files = begun.setdefault(patch, {})
        files[path.rsplit("/", 1)[-1].removeprefix(f"{patch}_")] = ArchiveFile(f"{source}: {path}", content)
        if len(files) == len(wanted):
            yield _entry(request, lists, patch, begun.pop(patch))
    for patch, files in begun.items():
        missing = some_names([name for name in wanted if name not in files])
        yield ImageEntry(patch, partial(_refuse, f"{source}: {patch}: {missing} missing; download the archive again"))


def _reason_left_out(path: str) -> str | None:
    """Return why a tar's file doesn't belong to a patch; None if it does, as PATCH/PATCH_B02.tif."""
    if (reason := junk(path.removeprefix("./"))) is not None:
        return reason
    parts = path.split("/")
    if len(parts) > 1 and parts[-1].startswith(f"{parts[-2]}_"):
        return None
    return "files that are part of no patch"


def _is_wanted(path: str, wanted: Sequence[str], wants: Callable[[str], bool]) -> bool:
    parts = path.split("/")
    return parts[-1].removeprefix(f"{parts[-2]}_") in wanted and wants(parts[-2])


def _wanted_files(request: PrepareRequest, lists: PatchLists) -> list[str]:
    bands = [f"{band}.tif" for band in request.options.bands]
    return bands if lists.labels is not None else [*bands, V1_LABELS]


def _entry(request: PrepareRequest, lists: PatchLists, patch: str, files: Mapping[str, File]) -> ImageEntry:
    labels: tuple[str, ...] | None = None
    if lists.labels is not None:
        labels = lists.labels.get(patch)
        if labels is None:
            return ImageEntry(patch, partial(_refuse, f"{patch}: in none of v2's tables of patches; fetch them again"))
    tile = tile_position(patch)
    read = partial(read_patch, [files[f"{band}.tif"] for band in request.options.bands], files.get(V1_LABELS), labels)
    return ImageEntry(patch, read, lists.split(patch), tile[0] if tile else "")


def read_patch(bands: Sequence[File], labels_file: File | None, labels: tuple[str, ...] | None) -> LabelledImage:
    """Read one patch: pixels (120, 120, bands) uint16, and labels from its JSON unless `labels` are given."""
    values = [decode_band(band, largest=SIDE) for band in bands]
    if labels is None:
        assert labels_file is not None
        labels = _labels(labels_file)
    return LabelledImage(np.stack([_enlarged(band) for band in values], axis=-1), labels)


def _enlarged(band: NDArray[np.uint16]) -> NDArray[np.uint16]:
    times = SIDE // len(band)
    return band if times == 1 else np.repeat(np.repeat(band, times, axis=0), times, axis=1)


def _refuse(message: str) -> LabelledImage:
    raise BadInputError(message)


def _labels(file: File) -> tuple[str, ...]:
    try:
        content = json.loads(load(file))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"{file}: expected JSON with the patch's labels ({error}); fetch the patch again"
        ) from error
    names = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        raise BadInputError(f'{file}: expected a list "labels" with at least one; fetch the patch again')
    unknown = [name for name in names if not isinstance(name, str) or name not in KNOWN_43]
    if unknown:
        raise BadInputError(f"{file}: {unknown[0]!r} is none of the 43 labels of BigEarthNet v1.0")
    return tuple(names)


def _classifier(request: PrepareRequest) -> Callable[[Sequence[str]], Sequence[str]] | None:
    """Return the function that maps a patch's labels to the chosen label set."""
    own = next(iter(request.facts.label_sets))
    if request.options.labels == own:
        return None
    if request.options.labels == "19":
        return lambda labels: [LABEL_OF_19[label] for label in labels if label in LABEL_OF_19]
    farmland = frozenset(request.facts.label_rules[own]["farmland"])
    return lambda labels: [FARMLAND_CLASSES[bool(farmland.intersection(labels))]]


def _label_notes(request: PrepareRequest) -> list[str]:
    if request.options.labels == "farmland":
        return ["the labels from which farmland was derived are kept beside it (column original_labels)"]
    if request.options.labels == "19" and request.facts is BIGEARTHNET_V1:
        return ["patches that none of the 19 labels describes are left out"]
    return []


def _absent(lists: PatchLists, seen: set[str]) -> tuple[str, ...]:
    listed = lists.splits if lists.splits is not None else lists.labels
    missing = 0 if listed is None else len(listed.keys() - seen - lists.excluded)
    return (f"{missing:,} patches of the lists aren't in the source",) if missing else ()


# Folders


def _find_root(request: PrepareRequest, levels: int) -> Path:
    """Return the folder that holds the patches: the source, or a folder that it wraps."""
    source, expected = request.required_source(), request.facts.layout
    if not source.is_dir():
        raise BadInputError(f"{source}: no such folder or tar; expected {expected}")
    if _has_patches(source, levels):
        return source
    folders = list(_sub_folders(source))
    while len(folders) == 1 and not _has_patches(folders[0], levels):  # folders that only wrap the patches
        folders = list(_sub_folders(folders[0]))
    found = [folder for folder in folders if _has_patches(folder, levels)]
    if len(found) == 1:
        return found[0]
    if found:
        names = some_names([folder.name for folder in found])
        raise BadInputError(f"{source}: holds several ({names}); give one of them as the source")
    raise BadInputError(f"{source}: expected {expected}; found {some_names([path.name for path in source.iterdir()])}")


def _has_patches(folder: Path, levels: int) -> bool:
    return any(_has_bands(patch) for patch in islice(_patch_folders(folder, levels), PROBED_FOLDERS))


def _has_bands(patch: Path) -> bool:
    start = f"{patch.name}_B"
    with os.scandir(patch) as files:
        return any(file.name.startswith(start) and file.name.endswith(".tif") for file in files)


def _patches(root: Path, levels: int, strays: list[str]) -> Iterator[Path]:
    """Yield the patch folders; record folders that have neither a patch name nor a band file in `strays`."""
    for folder in _patch_folders(root, levels):
        if tile_position(folder.name) or _has_bands(folder):
            yield folder
        else:
            strays.append(str(folder.relative_to(root)))


def _patch_folders(root: Path, levels: int) -> Iterator[Path]:
    if levels == 1:
        yield from _sub_folders(root)
    else:
        for tile in _sub_folders(root):
            yield from _sub_folders(tile)


def _sub_folders(folder: Path) -> Iterator[Path]:
    """Yield the direct sub-folders by name, without hidden ones and those of operating systems."""
    with os.scandir(folder) as entries:  # knows folders without a call for each
        names = sorted(entry.name for entry in entries if junk(entry.name) is None and entry.is_dir())
    return (folder / name for name in names)
