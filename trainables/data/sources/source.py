"""Image sources: lists of image entries, from a folder or an archive, that `prepare` reads one by one."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.bands import SpectralBand
from trainables.data.chip import Chip
from trainables.data.dataset_facts import DataSetFacts
from trainables.data.sources.options import StoreOptions
from trainables.data.splits import is_thesis_candidate
from trainables.data.stable_hash import SUBSET_SALT, stable_fraction
from trainables.errors import BadInputError

SHOWN_NAMES = 6
"""Maximum number of names in an error message."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """File of an archive: its label for messages, and its content."""

    label: str
    content: bytes

    def __str__(self) -> str:
        return self.label


File = str | ArchiveFile
"""Path on disk, or file of an archive; paths are text, since half a million Path objects take seconds."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """Decoded image (H, W, C) with its label names in any order.

    Values are uint8 or uint16, or float32 with NaN where data are lacking, for scenes of other types.

    Labels None: the image is unlabelled. Labels empty: the image is left out, as are the 57 patches of BigEarthNet with
    none of the 19 labels.
    """

    image: NDArray[np.generic]
    labels: tuple[str, ...] | None
    facts: tuple[str, ...] = ()
    """Decisions of the decoder in words: bands, bits, orientation."""
    chip: Chip | None = None
    """Place on the ground, if the file itself states it."""
    nodata: float | None = None
    """Share of a chip's pixels without data, if it was counted while the chip was read."""
    lacking: NDArray[np.bool_] | None = None
    """Pixels (H, W) without data, where a rule needs them and the values don't say; else None."""
    refused: str = ""
    """Reason why the image isn't kept, in the plural: chips with more than 0% nodata. Empty: it is kept."""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """Image to decode: its name and the function that reads it.

    `read` runs in another process, so it must be picklable; it raises BadInputError for an undecodable image. `split`
    is the source's own split, None if it has none. Grouped splits keep images of one `place` together.
    """

    name: str
    read: Callable[[], LabelledImage]
    split: str | None = None
    place: str = ""
    chip: Chip | None = None
    """Position in the scene that the image was cut from; None for other images."""


@dataclass(frozen=True)
class ImageSource:
    """All images of a data set: location, classes, entries, and notes for the user."""

    location: str
    class_names: tuple[str, ...]
    entries: Callable[[], Iterator[ImageEntry]]
    """Function that iterates over the wanted images from the start; an archive is read meanwhile."""
    count: int | None
    """Number of entries; None if it is known only after reading the archive."""
    notes: tuple[str, ...] = ()
    multi_label: bool = False
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    total: Callable[[], int] | None = None
    """Number of images in the source, wanted or not; known after an iteration over `entries`."""
    classify: Callable[[Sequence[str]], Sequence[str]] | None = None
    """Function from the source's labels to those in `class_names`; None if they are the same."""
    position: Callable[[], tuple[int, int]] | None = None
    """Bytes of the archive read so far and in total, for the progress display if `count` is None."""
    decisions: Mapping[str, str] = field(default_factory=dict)
    """Automatic decisions in words, by subject, as the origin of the classes; empty ones aren't shown."""
    left_out: Callable[[], Counter[str]] = Counter
    """Numbers of skipped files, folders or images by reason; known after an iteration over `entries`."""
    splits_from: str = ""
    """Origin of each image's split, in words; empty if the source has no splits."""
    bands: tuple[SpectralBand, ...] = ()
    """Band of each channel as read, if the source names them; empty: the bands of the request."""
    values: str = ""
    """Type of the source's values, as int16, if images are read as float32; empty: the images' own."""
    state: str = ""
    """Digest of images, labels, splits and places; it changes when the source is edited."""
    together: int = 1
    """Maximum number of consecutive entries from one file, as the chips of a scene."""

    @cached_property
    def class_index(self) -> dict[str, int]:
        """Index of each class by name."""
        return {name: index for index, name in enumerate(self.class_names)}


@dataclass(frozen=True)
class PrepareRequest:
    """Request to prepare a data set."""

    facts: DataSetFacts
    options: StoreOptions
    source: Path | None = None
    lists: Path | None = None
    """Folder of the official splits and patch lists, if they aren't beside the source."""
    table: Path | None = None
    """CSV or Parquet file of image paths and labels."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column names of the table for path, image, label, split and place, if they differ."""
    class_level: int | None = None
    """Level of the folders that name the classes, 1: directly below the source; None: by the layout."""
    stated: frozenset[str] = frozenset()
    """Names of the options that the user gave, as opposed to defaults."""

    def column(self, name: str) -> str:
        """Return the table's name of a column."""
        return self.columns.get(name, name)

    def wants(self, name: str) -> bool:
        """Whether an image is in the requested subset, decided by its name alone."""
        if self.options.splits == "thesis" and self.facts.thesis_share is not None:
            return is_thesis_candidate(name)
        return self.options.fraction == 1.0 or bool(
            stable_fraction([name], salt=SUBSET_SALT)[0] < self.options.fraction
        )

    def required_source(self) -> Path:
        """Return the source; BadInputError with the expected layout if there is none."""
        if self.source is None:
            raise BadInputError(f"{self.facts.name} needs --source PATH: {self.facts.layout}")
        return self.source


def counted(reasons: Counter[str]) -> str:
    """Return the counts by reason as text, the largest first; empty if all are zero."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common() if count)


def digest_of(*parts: str) -> str:
    """Return the SHA-256 digest of texts in order, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def some_names(names: Sequence[str]) -> str:
    """Return the first names as text for a message; "nothing" if there are none."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (", ".join(sorted(names)[:SHOWN_NAMES]) or "nothing") + more
