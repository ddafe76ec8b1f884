"""BigEarthNet's patch lists: official splits, patches with snow or clouds, and labels of v2.0."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainables.data.class_names import LABELS_19
from trainables.data.sources.source import PrepareRequest, digest_of
from trainables.data.split_names import named_split
from trainables.errors import BadInputError
from trainables.files.parquet_file import UNREADABLE, ParquetRows

LIST_BYTES = 256 * 2**20
"""Size limit of an uncompressed patch list in bytes; the largest has 30 MB."""
ROWS_AT_ONCE = 4096
OPENERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".bz2": bz2.open}
V1_SPLITS = {"train": "train", "val": "validation", "test": "test"}
V1_EXCLUSIONS = {"snow": "patches_with_seasonal_snow", "cloud": "patches_with_cloud_and_shadow"}
V2_TABLE = "metadata.parquet"
V2_HIDDEN_TABLE = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
V2_FLAGS = {"snow": "contains_seasonal_snow", "cloud": "contains_cloud_or_shadow"}


@dataclass(frozen=True)
class PatchLists:
    """Content of the patch lists; fields are None if not needed or not published."""

    splits: dict[str, str] | None = None
    """Official split by patch name."""
    excluded: frozenset[str] = frozenset()
    labels: dict[str, tuple[str, ...]] | None = None

    @cached_property
    def state(self) -> str:
        """Digest of the content of all lists."""
        said = (self.splits or {}, self.labels or {})
        return digest_of(*map(repr, sorted(self.excluded)), *(repr(sorted(one.items())) for one in said))

    def split(self, patch: str) -> str | None:
        """Return the official split of a patch; None if it has none."""
        return None if self.splits is None else self.splits.get(patch)


def v1_lists(request: PrepareRequest) -> PatchLists:
    """Read the lists of BigEarthNet v1.0 that the options need; BadInputError names a missing file."""
    splits = None
    if request.options.splits == "official":
        splits = {
            patch: split for stem, split in V1_SPLITS.items() for patch in _names(_required(request, f"{stem}.csv"))
        }
    excluded: set[str] = set()
    for exclusion in request.options.exclude:
        excluded |= set(_names(_required(request, f"{V1_EXCLUSIONS[exclusion]}.csv")))
    return PatchLists(splits, frozenset(excluded))


def v2_lists(request: PrepareRequest) -> PatchLists:
    """Read the metadata of v2.0: labels of all patches, and official splits of those without snow, cloud or shadow."""
    splits: dict[str, str] = {}
    labels: dict[str, tuple[str, ...]] = {}
    excluded: set[str] = set()
    path = _required(request, V2_TABLE)
    for row in _rows(path):
        labels[row["patch_id"]] = _checked_labels(path, row)
        splits[row["patch_id"]] = _checked_split(path, row)
    hidden = _found(request, V2_HIDDEN_TABLE)
    if hidden is None and request.options.splits != "official":
        raise _missing(request, V2_HIDDEN_TABLE)
    for row in _rows(hidden) if hidden else ():
        labels[row["patch_id"]] = _checked_labels(path, row)
        if any(row[V2_FLAGS[exclusion]] for exclusion in request.options.exclude):
            excluded.add(row["patch_id"])
    return PatchLists(splits if request.options.splits == "official" else None, frozenset(excluded), labels)


def _checked_labels(path: Path, row: dict[str, Any]) -> tuple[str, ...]:
    labels = row["labels"]
    unknown = [label for label in labels if label not in LABELS_19] if isinstance(labels, list) else [labels]
    if unknown or not labels:
        raise BadInputError(f"{path}: {row['patch_id']}: label {unknown or labels!r} is none of the 19; fetch it again")
    return tuple(str(label) for label in labels)


def _checked_split(path: Path, row: dict[str, Any]) -> str:
    split = named_split(str(row["split"]))
    if split is None:
        raise BadInputError(f"{path}: {row['patch_id']}: split {row['split']!r} is none of train, validation, test")
    return split


def _required(request: PrepareRequest, name: str) -> Path:
    path = _found(request, name)
    if path is None:
        raise _missing(request, name)
    return path


def _missing(request: PrepareRequest, name: str) -> BadInputError:
    urls = [published.url for published in request.facts.lists if name in published.url]
    origin = f" (published at {urls[0]})" if urls else ""
    return BadInputError(f"{name}: not found beside {request.source}; give its folder with --lists FOLDER{origin}")


def _found(request: PrepareRequest, name: str) -> Path | None:
    source = request.required_source()
    places = [request.lists] if request.lists else [source, source.parent]
    for place in places:
        for folder in (place, place / "splits"):
            for suffix in OPENERS:
                if (folder / (name + suffix)).is_file():
                    return folder / (name + suffix)
    return None


def _names(path: Path) -> Iterable[str]:
    """Return the first column of a patch list, compressed or not."""
    opener = OPENERS[path.suffix if path.suffix in OPENERS else ""]
    try:
        with opener(path, "rb") as file:
            content = file.read(LIST_BYTES + 1)
        if len(content) > LIST_BYTES:
            raise ValueError(f"more than {LIST_BYTES:,} bytes")
        names = [line.split(",")[0].strip() for line in content.decode("utf-8").splitlines()]
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise BadInputError(f"{path}: can't be read ({error}); fetch it again") from error
    return [name for name in names if name]


def _rows(path: Path) -> list[dict[str, Any]]:
    columns = ["patch_id", "labels", "split", *V2_FLAGS.values()]
    try:
        rows = [row for batch in ParquetRows(path).batches(columns, ROWS_AT_ONCE) for row in batch]
    except UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"{path}: not v2's table of patches ({reason}); fetch it again") from error
    if rows and set(rows[0]) != set(columns):
        raise BadInputError(f"{path}: expected the columns {', '.join(columns)}; fetch it again")
    return rows
