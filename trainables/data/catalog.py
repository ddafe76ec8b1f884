"""Catalog of data sets: known ones, prepared ones and their paths. Planning imports it, so it stays light."""

import json
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from trainables.data.bands import Band, band_name, colour_channels, named_bands, unnamed_bands
from trainables.data.dataset_facts import KNOWN, OWN_FILES, DataSetFacts
from trainables.data.remote_store import is_remote, read_info_bytes
from trainables.data.store_format import FINGERPRINT, FORMAT_VERSION, INFO_BYTES, INFO_FILE, PLAIN_NAME, SOURCE_STATE
from trainables.errors import BadInputError, describe_validation
from trainables.printable_text import printable
from trainables.redaction import secret_part

LISTED_NAMES = 12
"""How many class names an error message lists before it points to `info`."""

OptionValue = str | int | float
Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT)]
PlainName = Annotated[str, StringConstraints(pattern=PLAIN_NAME)]
SplitName = Annotated[str, StringConstraints(pattern=r"^(train|validation|test)$")]
Count = Annotated[int, Field(ge=0, lt=2**48)]
Side = Annotated[int, Field(ge=1, le=2**20)]
BAND_NAMES = re.compile(r"[A-Za-z0-9_.-]{1,40}(, [A-Za-z0-9_.-]{1,40})*")
PERCENTILES = re.compile(r"[A-Za-z0-9_.-]{1,40}: \d{1,5} to \d{1,5}(, [A-Za-z0-9_.-]{1,40}: \d{1,5} to \d{1,5})*")
MOST_CLASSES = 2**15
"""Labels are 16-bit numbers."""


class LeakCounts(BaseModel):
    """Held-out images that stand, or nearly stand, in another split too (trainables/data/preparing/leaks.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identical: int
    near_identical: int
    neighbours: int
    examples: tuple[str, ...]

    def described(self) -> str:
        """Return the counts as a sentence, empty where nothing was found."""
        kinds = {
            "byte-identical to": self.identical,
            "nearly identical to": self.near_identical,
            "direct neighbours, in their tile, of": self.neighbours,
        }
        parts = [f"{count:,} {kind}" for kind, count in kinds.items() if count]
        return f"held-out images: {', '.join(parts)} an image of another split" if parts else ""


class StoreInfo(BaseModel):
    """What a store says of itself in its store.json: content, origin, and how it was made.

    `image_size` is (height, width). `splits` is images a split, of those that there are; `class_counts` is images a
    class, for each split, in the order of `class_names`; `rule_counts` is images for which a rule holds, for each rule
    and split. `options` is what a person chose or could have chosen, and part of the fingerprint. `corrupt` names the
    images that were left out because they couldn't be decoded. `decisions` is what was found rather than chosen
    (classes, splits, what was left out and why), and `source_state` tells the source from an edited one; both are empty
    in stores of earlier versions. `unlabelled` is images without labels, for each split that has any;
    `number` is the name of the number that images have in place of classes, empty where they have none. `bands` is what
    each channel measures, empty in stores of earlier versions (see `channel_bands`).
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
    bands: tuple[Band, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse parts that contradict each other, and names of bands that aren't plain."""
        for split, count in self.unlabelled.items():
            if count > self.splits.get(split, 0):
                raise ValueError(f"unlabelled: {split}: {count} images, more than the split has")
        for split, counts in self.class_counts.items():
            if split not in self.splits or len(counts) != len(self.class_names):
                raise ValueError(f"class_counts: {split}: must have a count for each class of a split that there is")
        for rule, names in self.rules.items():
            if unknown := [name for name in names if name not in self.class_names]:
                raise ValueError(f"rules: {rule}: names {unknown[0][:60]!r}, which is no class")
        if self.bands and len(self.bands) != self.channels:
            raise ValueError(f"bands: {len(self.bands)} bands for {self.channels} channels")
        for option, pattern in (("bands", BAND_NAMES), ("percentiles", PERCENTILES)):
            value = str(self.options.get(option, ""))
            if value and not pattern.fullmatch(value):
                raise ValueError(f"options: {option}: must be names of bands, got {value[:60]!r}")
        return self

    @property
    def title(self) -> str:
        """The published data set, or the name that a person gave to files of their own."""
        return self.name if self.data_set in OWN_FILES else self.data_set

    @property
    def channel_bands(self) -> tuple[Band, ...]:
        """The band of each channel; of a store of earlier versions by its options, else three are red, green, blue."""
        names = [name for name in str(self.options.get("bands", "")).split(", ") if name]
        return self.bands or (named_bands(names) if len(names) == self.channels else unnamed_bands(self.channels))

    def with_bands(self, names: tuple[str, ...]) -> Self:
        """Return what a store of some of the bands would say, in the order of `names`; with none: of all.

        Raises BadInputError for a band that the store doesn't have, or that is named twice.
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
        """Return the channels of bands; BadInputError for one that the store doesn't have, or that is named twice."""
        have = [band.name for band in self.channel_bands]
        wanted = [band_name(name) for name in names]
        if unknown := [name for name in wanted if name not in have]:
            raise BadInputError(f"bands: {unknown[0]!r} is none of {self.name}'s: {', '.join(have)}")
        if len(set(wanted)) < len(wanted):
            raise BadInputError(f"bands: {', '.join(wanted)}: name each band once")
        return [have.index(name) for name in wanted]

    @property
    def colours(self) -> tuple[int, int, int] | None:
        """Which channels are red, green and blue; None where one of them is missing."""
        return colour_channels(self.channel_bands)

    @property
    def images(self) -> int:
        """Images in all splits together."""
        return sum(self.splits.values())

    @property
    def labelled(self) -> dict[str, int]:
        """Images with labels in each split."""
        return {split: images - self.unlabelled.get(split, 0) for split, images in self.splits.items()}

    @property
    def labelled_images(self) -> int:
        """Images with labels in all splits together."""
        return sum(self.labelled.values())

    @classmethod
    def read(cls, name: str, root: Path | None = None) -> "StoreInfo | None":
        """Return what is known of the prepared store `name`, or None when there is none.

        Raises BadInputError for a store.json that can't be read or is of another format.
        """
        address = None if root is not None else remote_root()
        if address is None:
            return cls.read_folder(store_folder(name, root))
        return cls.read_address(beneath(address, _plain(name)), name)

    @classmethod
    def read_address(cls, address: str, name: str = "") -> "StoreInfo | None":
        """As `read`, for the store at an address or in a folder; `name` is for messages."""
        if not is_remote(address):
            return cls.read_folder(Path(address))
        content = read_info_bytes(address)
        return None if content is None else cls.parse(content, address, name)

    @classmethod
    def read_folder(cls, folder: Path) -> "StoreInfo | None":
        """As `read`, for the store in `folder`."""
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
        """Return what the content of a store.json says; BadInputError names `where` and each field that is wrong."""
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


def data_root() -> Path:
    """Return the folder that holds the stores: the environment's SWEEP_DATA, else ~/.cache/sweep/data.

    Raises BadInputError where SWEEP_DATA is an address: stores there are read, and made elsewhere.
    """
    if (address := remote_root()) is not None:
        raise BadInputError(
            f"SWEEP_DATA {address}: stores are prepared on this machine's disk: give --root FOLDER, then "
            f"python -m sweep.data upload NAME {address} --root FOLDER"
        )
    chosen = os.environ.get("SWEEP_DATA")
    return checked_root(Path(chosen), "SWEEP_DATA") if chosen else Path.home() / ".cache" / "sweep" / "data"


def checked_root(folder: Path, given_by: str) -> Path:
    """Return a folder for stores, which pyarrow can open; BadInputError names what gave another."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError as error:
        raise BadInputError(
            f"{given_by} {printable(str(folder))}: its name isn't UTF-8; choose another folder"
        ) from error
    return folder.expanduser()


def remote_root() -> str | None:
    """Return the address in SWEEP_DATA (s3://..., file://...), None where it is a folder or nothing."""
    chosen = os.environ.get("SWEEP_DATA", "")
    if "://" not in chosen:
        return None
    if secret := secret_part(chosen):
        raise BadInputError(
            f"SWEEP_DATA {chosen}: has {secret}; credentials belong in their own variables or a file, as an address "
            "is kept"
        )
    return chosen


def beneath(address: str, name: str) -> str:
    """Return the address of `name` below another; a query (?endpoint_override=...) stays at the end."""
    place, mark, query = address.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


def store_address(name: str) -> str:
    """Return where every machine finds the store `name`: the absolute path of its folder, or its address."""
    address = remote_root()
    return str(store_folder(name).absolute()) if address is None else beneath(address, _plain(name))


def store_folder(name: str, root: Path | None = None) -> Path:
    """Return the folder of the store `name`, which need not exist; BadInputError for a name that isn't a plain one."""
    return (data_root() if root is None else checked_root(root, "--root")) / _plain(name)


def _plain(name: str) -> str:
    if not re.fullmatch(PLAIN_NAME, name):
        raise BadInputError(
            f"data set name {name!r}: use letters, digits, '_', '.' and '-' only, a letter or digit first"
        )
    return name


def prepare_command(name: str) -> str:
    """Return the command that a person types to make the store `name`."""
    facts = KNOWN.get(name)
    if facts is None:
        return f"python -m sweep.data prepare {{{','.join(KNOWN)}}} --source PATH --as {name}"
    downloads = " (downloads it; --source PATH takes what you have)" if facts.archive else " --source PATH"
    return f"python -m sweep.data prepare {name}" + ("" if facts.layout is None else downloads)


def remove_command(name: str) -> str:
    """Return the command that removes the store `name`."""
    return f"python -m sweep.data remove {name}"


def prepared(name: str, root: Path | None = None) -> StoreInfo:
    """Return the info of a store that has to exist; BadInputError gives the command that makes it."""
    info = StoreInfo.read(name, root)
    if info is None:
        where = root or remote_root() or data_root()
        unknown = "" if name in KNOWN else f" and not one of the known ({', '.join(KNOWN)})"
        raise BadInputError(f"data set {name!r} is not prepared under {where}{unknown}; type: {prepare_command(name)}")
    return info


def expand_positive(info: StoreInfo | DataSetFacts, positive: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names that `positive` stands for, each once and in class order.

    Each entry is the name of a rule or of a class; BadInputError names one that is neither. Facts without class names
    (those that come with the data) can't be checked: entries that aren't rules pass as they are.
    """
    known_classes = info.class_names or tuple(entry for entry in positive if entry not in info.rules)
    wanted: set[str] = set()
    for entry in positive:
        if entry not in info.rules and entry not in known_classes:
            raise BadInputError(_unknown_positive(info, entry))
        wanted.update(info.rules.get(entry, (entry,)))
    return tuple(dict.fromkeys(name for name in (*known_classes, *sorted(wanted)) if name in wanted))


def several_labels(info: StoreInfo | DataSetFacts) -> BadInputError:
    """Return what to say where one class an image is asked of a store that has several labels."""
    rules = ", ".join(info.rules) or "none"
    return BadInputError(
        f"{info.name}: images have several labels; set target=labels, or target=positive with a positive rule "
        f"(known: {rules})"
    )


def wrong_kind(info: StoreInfo, target: str) -> BadInputError:
    """Return what to say where a number is asked of classes, or the reverse."""
    if info.number:
        return BadInputError(
            f"target: {info.name} has a number an image, {info.number}; set target=number, got {target}"
        )
    return BadInputError(
        f"target: 'number' needs a number an image, and {info.name} has classes; attach numbers: python -m sweep.data "
        f"label {info.name} --table FILE --number"
    )


def _unknown_positive(info: StoreInfo | DataSetFacts, entry: str) -> str:
    classes = ", ".join(repr(name) for name in info.class_names[:LISTED_NAMES])
    if len(info.class_names) > LISTED_NAMES:
        classes += f" and {len(info.class_names) - LISTED_NAMES} more (python -m sweep.data info {info.name})"
    rules = ", ".join(info.rules) or "none"
    return f"positive {entry!r}: neither a rule nor a class of {info.name}; rules: {rules}; classes: {classes}"
