"""BigEarthNet-S2 v1.0 and v2.0 (reBEN): one folder per patch with one TIFF per band, in a folder or a tar.

In v1.0 each patch has a JSON file with its labels. In v2.0 patches are grouped by tile, and a table holds the labels.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from trainables.data.class_names import LABELS_19, LABELS_43, PARTS_OF_19
from trainables.data.dataset_facts import BIGEARTHNET_V1, FARMLAND_CLASSES
from trainables.data.patch_names import tile_position
from trainables.data.sources.archive import archive_state, is_tar, stream_tar
from trainables.data.sources.bigearthnet_folders import find_root, patch_folders
from trainables.data.sources.bigearthnet_lists import PatchLists, v1_lists, v2_lists
from trainables.data.sources.bigearthnet_patch import V1_LABELS, read_patch
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

LABEL_OF_19 = {LABELS_43[part]: LABELS_19[index] for index, parts in enumerate(PARTS_OF_19) for part in parts}


def read_bigearthnet_v1(request: PrepareRequest) -> ImageSource:
    """Return the source for BigEarthNet v1.0, from its tar.gz, its folder, or that folder's parent."""
    return _list(request, v1_lists(request), levels=1)


def read_bigearthnet_v2(request: PrepareRequest) -> ImageSource:
    """Return the source for BigEarthNet-S2 v2.0, from its tar.zst, its folder, or that folder's parent."""
    return _list(request, v2_lists(request), levels=2)


@dataclass
class _PatchTally:
    """Patches and files that were met in a source, by the reason for leaving them out."""

    request: PrepareRequest
    lists: PatchLists
    seen: set[str] = field(default_factory=set)
    excluded: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)
    """Folders that are no patches."""
    stray_files: Counter[str] = field(default_factory=Counter)
    position: tuple[int, int] = (0, 1)
    """Bytes read of a tar, and its size."""

    def wants(self, patch: str) -> bool:
        """Return whether a patch is prepared; otherwise count it."""
        if patch in self.lists.excluded:
            self.excluded.add(patch)
            return False
        self.seen.add(patch)
        if self.lists.splits is not None and patch not in self.lists.splits:
            self.unlisted.add(patch)
            return False
        return self.request.wants(patch)

    def hear(self, done: int, total: int) -> None:
        """Note how far a tar has been read."""
        self.position = done, total

    def left_out(self) -> Counter[str]:
        """Return the number of folders, patches and files that are left out, by reason."""
        reasons = {
            f"folders that aren't patches ({some_names(self.strays)})": len(self.strays),
            "patches on the lists of --exclude": len(self.excluded),
            "patches in none of the official splits": len(self.unlisted),
        }
        return Counter(reasons) + self.stray_files


def _list(request: PrepareRequest, lists: PatchLists, *, levels: int) -> ImageSource:
    source, tally = request.required_source(), _PatchTally(request, lists)
    notes: tuple[str, ...] = ()
    names: list[str] = []
    if source.is_file() and is_tar(source):
        location, count, state = str(source.resolve()), None, archive_state(source)
        entries = partial(_of_tar, request, lists, tally)
    else:
        root = find_root(request, levels)
        patches = [patch for patch in patch_folders(root, levels, tally.strays) if tally.wants(patch.name)]
        location, count = str(root.resolve()), len(patches)
        names, wanted = [patch.name for patch in patches], _wanted_files(request, lists)
        state = file_states(f"{patch}/{patch.name}_{name}" for patch in patches for name in wanted)
        notes = _absent(lists, tally.seen)
        entries = partial(_of_folder, request, lists, patches)
    return ImageSource(
        location=location,
        class_names=request.facts.label_sets[request.options.labels],
        entries=entries,
        count=count,
        notes=(*_label_notes(request), *notes),
        multi_label=request.options.labels != "farmland",
        rules=request.facts.label_rules[request.options.labels],
        total=lambda: len(tally.seen),
        classify=_classifier(request),
        position=lambda: tally.position,
        decisions={"classes": _classes_told(request, lists)},
        left_out=tally.left_out,
        splits_from="" if lists.splits is None else "the official lists",
        state=digest_of(state, lists.state, *names),
    )


def _classes_told(request: PrepareRequest, lists: PatchLists) -> str:
    own = "v2's tables" if lists.labels is not None else f"the patches' {V1_LABELS}"
    return f"the {request.options.labels} labels, from {own}"


def _of_folder(request: PrepareRequest, lists: PatchLists, patches: Sequence[Path]) -> Iterator[ImageEntry]:
    wanted = _wanted_files(request, lists)
    for patch in patches:
        yield _entry(request, lists, patch.name, {name: f"{patch}/{patch.name}_{name}" for name in wanted})


def _of_tar(request: PrepareRequest, lists: PatchLists, tally: _PatchTally) -> Iterator[ImageEntry]:
    """Collect the files of each patch from the stream; only incomplete patches stay in memory.

    Files that don't belong to a patch are counted by reason.
    """
    source = request.required_source()
    wanted = _wanted_files(request, lists)
    begun: dict[str, dict[str, File]] = {}
    tally.stray_files.clear()
    wants = lru_cache(maxsize=1024)(tally.wants)  # called for each file of a patch

    def takes(path: str) -> bool:
        if (reason := _reason_left_out(path)) is not None:
            tally.stray_files[reason] += 1
            return False
        return _is_wanted(path, wanted, wants)

    for path, content in stream_tar(source, takes, progress=tally.hear):
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


def _refuse(message: str) -> LabelledImage:
    raise BadInputError(message)


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
