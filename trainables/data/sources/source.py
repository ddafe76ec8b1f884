"""What a source of images hands to `prepare`: entries to be read one by one, from a folder or out of an archive."""

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
"""How many names of a folder's content an error message shows."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of an archive: where it came from, for messages, and its content."""

    label: str
    content: bytes

    def __str__(self) -> str:
        return self.label


File = str | ArchiveFile
"""A path on disk, or a file out of an archive; text, since half a million Path objects take seconds."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One decoded image, (H, W, C) uint8 or uint16, and the names of its labels, in any order.

    None: the image is unlabelled. Empty: it isn't kept (the 57 patches of BigEarthNet that none of the 19 labels
    describes).
    """

    image: NDArray[np.generic]
    labels: tuple[str, ...] | None
    facts: tuple[str, ...] = ()
    """What was decided when it was decoded: bands, bits, orientation."""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image that is still to be decoded: its name and the function that reads it.

    `read` runs in another process, so it can be pickled; it raises BadInputError for what it can't decode. `split` is
    the one that the source gives, None where it gives none; `place` is what grouped splits keep together.
    """

    name: str
    read: Callable[[], LabelledImage]
    split: str | None = None
    place: str = ""
    chip: Chip | None = None
    """Where in a scene the image was cut, where it was."""


@dataclass(frozen=True)
class ImageSource:
    """All images of a data set as found: where, in which classes, and what a person should know about them."""

    location: str
    class_names: tuple[str, ...]
    entries: Callable[[], Iterator[ImageEntry]]
    """Goes over the wanted images from the start, each time it is called; an archive is read as it goes."""
    count: int | None
    """Number of entries; None if it is known only after reading the archive."""
    notes: tuple[str, ...] = ()
    multi_label: bool = False
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    total: Callable[[], int] | None = None
    """How many images the source has, wanted or not, known once `entries` has been gone over."""
    classify: Callable[[Sequence[str]], Sequence[str]] | None = None
    """From the labels that the source has to those of `class_names`; None where they are the same."""
    position: Callable[[], tuple[int, int]] | None = None
    """Bytes of the archive read so far and in all, for progress where the count isn't known."""
    decisions: Mapping[str, str] = field(default_factory=dict)
    """What was found rather than chosen, in words: where classes come from, ...; without those that are empty."""
    left_out: Callable[[], Counter[str]] = Counter
    """Files, folders or images that weren't taken, by reason, known once `entries` has been gone over."""
    splits_from: str = ""
    """What names each image's split, in words; empty where nothing does."""
    bands: tuple[SpectralBand, ...] = ()
    """Band of each channel as read, if the source names them; empty: the bands of the request."""
    state: str = ""
    """Digest of images, labels, splits and places, by which an edited source is recognised."""
    together: int = 1
    """Maximum number of consecutive entries that come from one file: chips of a scene."""

    @cached_property
    def class_index(self) -> dict[str, int]:
        """The index of each class name."""
        return {name: index for index, name in enumerate(self.class_names)}


@dataclass(frozen=True)
class PrepareRequest:
    """Request to prepare a data set."""

    facts: DataSetFacts
    options: StoreOptions
    source: Path | None = None
    lists: Path | None = None
    """Folder with official splits and lists of patches, where they don't lie beside the source."""
    table: Path | None = None
    """CSV or Parquet file that names images and labels."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The table's own names for path, image, label, split and place, where they differ."""
    class_level: int | None = None
    """Level of the folder that names an image's class, 1: directly below the source; None: by the layout."""

    def column(self, name: str) -> str:
        """Return the table's own name of a column."""
        return self.columns.get(name, name)

    def wants(self, name: str) -> bool:
        """Whether an image is in the requested subset; decided by its name alone."""
        if self.options.splits == "thesis" and self.facts.thesis_share is not None:
            return is_thesis_candidate(name)
        return self.options.fraction == 1.0 or bool(
            stable_fraction([name], salt=SUBSET_SALT)[0] < self.options.fraction
        )

    def required_source(self) -> Path:
        """Return the source; BadInputError says what it has to be."""
        if self.source is None:
            raise BadInputError(f"{self.facts.name} needs --source PATH: {self.facts.layout}")
        return self.source


def counted(reasons: Counter[str]) -> str:
    """Return how many were left out for each reason, the most frequent first; empty for none."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common() if count)


def digest_of(*parts: str) -> str:
    """Return a digest of texts in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def some_names(names: Sequence[str]) -> str:
    """Return the first few names for a message, "nothing" for none."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (", ".join(sorted(names)[:SHOWN_NAMES]) or "nothing") + more
