"""Metadata of stores (store.json), and the commands that prepare and remove one. It imports nothing heavy."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from trainables.data.bands import EncoderInputs, SpectralBand, colour_channels, named_bands, unnamed_bands
from trainables.data.dataset_facts import KNOWN, OWN_FILES
from trainables.data.remote_store import is_remote, read_info_bytes
from trainables.data.store_addresses import data_root, joined_address, plain_name, remote_root, store_folder
from trainables.data.store_format import FINGERPRINT, FORMAT_VERSION, INFO_BYTES, INFO_FILE, PLAIN_NAME, SOURCE_STATE
from trainables.errors import BadInputError, describe_validation, nearest
from trainables.fields.band_spelling import band_name

OptionValue = str | int | float
Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT)]
PlainName = Annotated[str, StringConstraints(pattern=PLAIN_NAME)]
SplitName = Annotated[str, StringConstraints(pattern=r"^(train|validation|test)$")]
Count = Annotated[int, Field(ge=0, lt=2**48)]
Side = Annotated[int, Field(ge=1, le=2**20)]
BAND_NAMES = re.compile(r"[A-Za-z0-9_.-]{1,40}(, [A-Za-z0-9_.-]{1,40})*")
NUMBER = r"-?\d{1,17}(\.\d{1,17})?(e[+-]\d{1,3})?"
RANGE = rf"[A-Za-z0-9_.-]{{1,40}}: {NUMBER} to {NUMBER}"
PERCENTILES = re.compile(rf"{RANGE}(, {RANGE})*")
KEPT_WHOLE = {"block": "block", "tile": "tile", "place": "place", "longitude": "place"}
"""What the split rules by place keep in one split, in the options of stores."""
MOST_CLASSES = 2**15
"""Largest number of classes, since labels are stored as 16-bit integers."""


class LeakCounts(BaseModel):
    """Numbers of held-out images with a duplicate or near-duplicate in another split (preparing/leaks.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identical: int
    near_identical: int
    neighbours: int
    examples: tuple[str, ...]

    def described(self) -> str:
        """Return the counts as a sentence; empty if there are no leaks."""
        kinds = {
            "byte-identical to": self.identical,
            "nearly identical to": self.near_identical,
            "adjacent, in the same tile, to": self.neighbours,
        }
        parts = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
        return f"held-out images: {', '.join(parts)} an image of another split" if parts else ""


class PlaceDates(BaseModel):
    """Numbers of train images with a known place and date, of their places and dates, and of possible pairs.

    Attributes:
        paired: Number of images whose place has an image of another date.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    places: int
    dates: int
    paired: int

    def described(self) -> str:
        """Return the counts as text; empty if no place and date is known."""
        if not self.images:
            return ""
        dates = f"{self.dates:,} date" + ("" if self.dates == 1 else "s")
        places = f"{self.places:,} place" + ("" if self.places == 1 else "s")
        return f"{self.images:,} train images of {places} at {dates}, {self.paired:,} with another date of their place"


class StoreInfo(BaseModel):
    """Metadata of a store (store.json): content, origin and preparation options.

    Attributes:
        image_size: Height and width in pixels.
        splits: Number of images per split.
        class_counts: For each split, the number of images per class, in the order of `class_names`.
        rule_counts: For each rule and split, the number of images that match the rule.
        options: Preparation options with their defaults; part of the fingerprint.
        corrupt: Names of images that were left out because they couldn't be decoded.
        decisions: What was detected in the source rather than chosen: classes, splits, files left out. Empty in stores
            of earlier versions.
        source_state: Digest of the source, which changes when it is edited. Empty in stores of earlier versions.
        unlabelled: Number of unlabelled images per split; splits without any are absent.
        number: Name of the regression target; empty for stores with classes.
        bands: Spectral band of each channel; empty in stores of earlier versions (see `channel_bands`).
        place_dates: Numbers of places and dates in train, for pairs of seasons. None in stores of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    name: PlainName
    data_set: PlainName
    source: str
    image_size: tuple[Side, Side]
    channels: Annotated[int, Field(ge=1, le=2**10)]
    dtype: Literal["uint8", "uint16"]
    class_names: Annotated[tuple[str, ...], Field(max_length=MOST_CLASSES)]
    multi_label: bool
    rules: dict[str, tuple[str, ...]]
    splits: dict[SplitName, Count]
    class_counts: dict[SplitName, tuple[Count, ...]]
    rule_counts: dict[str, dict[SplitName, Count]]
    options: dict[str, OptionValue]
    licence: str
    notes: tuple[str, ...]
    leaks: LeakCounts
    corrupt: tuple[str, ...]
    made: str
    fingerprint: Fingerprint
    decisions: dict[str, str] = Field(default_factory=dict)
    source_state: Annotated[str, StringConstraints(pattern=SOURCE_STATE)] = ""
    unlabelled: dict[SplitName, Count] = Field(default_factory=dict)
    number: Annotated[str, Field(max_length=200)] = ""
    bands: tuple[SpectralBand, ...] = ()
    place_dates: PlaceDates | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Check that the fields are consistent and that band names are plain."""
        for split, count in self.unlabelled.items():
            if count > self.splits.get(split, 0):
                raise ValueError(f"unlabelled: {split}: {count} images, more than the split has")
        for split, counts in self.class_counts.items():
            if split not in self.splits or len(counts) != len(self.class_names):
                raise ValueError(f"class_counts: {split}: must be one count per class, for splits of the store")
        for rule, names in self.rules.items():
            if unknown := [name for name in names if name not in self.class_names]:
                raise ValueError(f"rules: {rule}: names {unknown[0][:60]!r}, which isn't a class")
        if self.bands and len(self.bands) != self.channels:
            raise ValueError(f"bands: {len(self.bands)} bands for {self.channels} channels")
        for option, pattern in (("bands", BAND_NAMES), ("percentiles", PERCENTILES)):
            value = str(self.options.get(option, ""))
            if value and not pattern.fullmatch(value):
                raise ValueError(f"options: {option}: must be names of bands, got {value[:60]!r}")
        return self

    @property
    def title(self) -> str:
        """Name of the published data set, or the user's name for their own files."""
        return self.name if self.data_set in OWN_FILES else self.data_set

    @property
    def channel_bands(self) -> tuple[SpectralBand, ...]:
        """Band of each channel; for stores of earlier versions, derived from the options or the channel count."""
        names = [name for name in str(self.options.get("bands", "")).split(", ") if name]
        return self.bands or (named_bands(names) if len(names) == self.channels else unnamed_bands(self.channels))

    @property
    def inputs(self) -> EncoderInputs:
        """Bands and largest value of the stored pixels, as an encoder takes them."""
        return EncoderInputs(bands=self.channel_bands, full=2**16 - 1 if self.dtype == "uint16" else 2**8 - 1)

    def with_bands(self, names: tuple[str, ...]) -> Self:
        """Return the metadata restricted to the bands `names`, in that order; an empty tuple keeps all bands.

        Raises:
            BadInputError: A band is missing from the store or is named twice.
        """
        if not names:
            return self
        chosen = self.band_channels(names)
        bands = tuple(self.channel_bands[channel] for channel in chosen)
        options = {**self.options, "bands": ", ".join(band.name for band in bands)}
        if ranges := str(options.get("percentiles", "")):
            parts = ranges.split(", ")
            options["percentiles"] = ", ".join(parts[channel] for channel in chosen)
        return self.model_copy(update={"channels": len(bands), "bands": bands, "options": options})

    def band_channels(self, names: tuple[str, ...]) -> list[int]:
        """Return the channel index of each band; BadInputError if a band is missing or named twice."""
        have = [band.name for band in self.channel_bands]
        wanted = [band_name(name) for name in names]
        if unknown := [name for name in wanted if name not in have]:
            raise BadInputError(f"bands: {unknown[0]!r} is none of {self.name}'s: {', '.join(have)}")
        if len(set(wanted)) < len(wanted):
            raise BadInputError(f"bands: {', '.join(wanted)}: name each band once")
        return [have.index(name) for name in wanted]

    @property
    def colours(self) -> tuple[int, int, int] | None:
        """Channel indices of red, green and blue; None if one of them is missing."""
        return colour_channels(self.channel_bands)

    @property
    def kept_whole(self) -> str:
        """What the store's split rule keeps in one split: block, tile or place; empty if it splits single images."""
        return KEPT_WHOLE.get(str(self.options.get("splits", "")).partition(":")[0], "")

    @property
    def images(self) -> int:
        """Number of images over all splits."""
        return sum(self.splits.values())

    @property
    def labelled(self) -> dict[str, int]:
        """Number of labelled images per split."""
        return {split: images - self.unlabelled.get(split, 0) for split, images in self.splits.items()}

    @property
    def labelled_images(self) -> int:
        """Number of labelled images over all splits."""
        return sum(self.labelled.values())

    @classmethod
    def read(cls, name: str, root: Path | None = None) -> "StoreInfo | None":
        """Return the metadata of the prepared store `name`, or None if there is no such store.

        Raises:
            BadInputError: store.json can't be read or has another format version.
        """
        address = None if root is not None else remote_root()
        if address is None:
            return cls.read_folder(store_folder(name, root))
        return cls.read_address(joined_address(address, plain_name(name)), name)

    @classmethod
    def read_address(cls, address: str, name: str = "") -> "StoreInfo | None":
        """Return the metadata of the store at an address or in a folder, as `read`; `name` is used in messages."""
        if not is_remote(address):
            return cls.read_folder(Path(address))
        content = read_info_bytes(address)
        return None if content is None else cls.parse(content, address, name)

    @classmethod
    def read_folder(cls, folder: Path) -> "StoreInfo | None":
        """Return the metadata of the store in `folder`, as `read`."""
        path = folder / INFO_FILE
        try:
            with path.open("rb") as file:
                content = file.read(INFO_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
        return cls.parse(content, str(path), folder.name)

    @classmethod
    def parse(cls, content: bytes, where: str, name: str = "") -> "StoreInfo":
        """Parse the content of a store.json; BadInputError names `where` and each invalid field."""
        name = name or where.partition("?")[0].rstrip("/").rpartition("/")[2]
        remedy = f"remove it and prepare it again: {remove_command(name)}; {prepare_command(name)}"
        if len(content) > INFO_BYTES:
            raise BadInputError(f"{where}: has more than {INFO_BYTES:,} bytes; {remedy}")
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{where}: can't be read ({error}); {remedy}") from error
        version = fields.get("format_version") if isinstance(fields, dict) else None
        if version != FORMAT_VERSION:
            raise BadInputError(f"{where}: store format {version}, this program reads {FORMAT_VERSION}; {remedy}")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            faults = describe_validation(error, known_fields=tuple(cls.model_fields)).replace("\n", "; ")
            raise BadInputError(f"{where}: {faults}; {remedy}") from error


def prepare_command(name: str) -> str:
    """Return the shell command that prepares the store `name`, or attaches a prepared store's label set."""
    facts, (pool, _, labels) = KNOWN.get(name), name.rpartition(".")
    if pool in known_names():
        return f"python -m sweep.data label {pool} --table FILE --name {labels}"
    if facts is None:
        return f"python -m sweep.data prepare {{{','.join(KNOWN)}}} --source PATH --as {name}"
    downloads = " (downloads it; --source PATH takes what you have)" if facts.archive else " --source PATH"
    return f"python -m sweep.data prepare {name}" + ("" if facts.layout is None else downloads)


def remove_command(name: str) -> str:
    """Return the shell command that removes the store `name`."""
    return f"python -m sweep.data remove {name}"


def known_names(root: Path | None = None) -> list[str]:
    """Return the names of the known data sets and of the stores in the root."""
    if root is None and remote_root() is not None:
        return list(KNOWN)
    folder = root or data_root()
    return [*KNOWN, *sorted(path.parent.name for path in folder.glob(f"*/{INFO_FILE}"))]


def readable_info(name: str) -> StoreInfo | None:
    """Return the metadata of a store of this machine; None if it isn't here or can't be read."""
    try:
        return StoreInfo.read(name)
    except BadInputError:
        return None


def prepared(name: str, root: Path | None = None) -> StoreInfo:
    """Return the metadata of an existing store; if it is missing, BadInputError gives the command that prepares it."""
    info = StoreInfo.read(name, root)
    if info is None:
        where = root or remote_root() or data_root()
        unknown = "" if name in KNOWN else f" and not one of the known ({', '.join(KNOWN)})"
        near = nearest(name, known_names(root))
        raise BadInputError(
            f"data set {name!r} is not prepared under {where}{unknown}{near}; type: {prepare_command(name)}"
        )
    return info
