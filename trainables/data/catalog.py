"""Which data sets exist: those known, those prepared, where they lie. Planning imports it, so nothing heavy is here."""

import json
import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainables.data.known import KNOWN, DataSetFacts
from trainables.errors import BadInputError, describe_validation

__all__ = [
    "FORMAT_VERSION",
    "IMAGES_FILE",
    "INFO_FILE",
    "KNOWN",
    "DataSetFacts",
    "StoreInfo",
    "data_root",
    "expand_positive",
    "prepare_command",
    "prepared",
    "store_folder",
]

FORMAT_VERSION = 1
IMAGES_FILE = "images.arrow"
INFO_FILE = "store.json"
LISTED_NAMES = 12
"""How many class names an error message lists before it points to `info`."""

OptionValue = str | int | float


class StoreInfo(BaseModel):
    """What a store says of itself in its store.json: content, origin, and how it was made.

    `image_size` is (height, width). `splits` is images a split; `class_counts` is images a class, for each split, in
    the order of `class_names`; `rule_counts` is images for which a rule holds, for each rule and split. `options` is
    what a person chose or could have chosen, and part of the fingerprint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    name: str
    data_set: str
    source: str
    image_size: tuple[int, int]
    channels: int
    class_names: tuple[str, ...]
    multi_label: bool
    rules: dict[str, tuple[str, ...]]
    splits: dict[str, int]
    class_counts: dict[str, tuple[int, ...]]
    rule_counts: dict[str, dict[str, int]]
    options: dict[str, OptionValue]
    licence: str
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def images(self) -> int:
        """Images in all splits together."""
        return sum(self.splits.values())

    @classmethod
    def read(cls, name: str, root: Path | None = None) -> "StoreInfo | None":
        """Return what is known of the prepared store `name`, or None when there is none.

        Raises BadInputError for a store.json that can't be read or is of another format.
        """
        return cls.read_folder(store_folder(name, root))

    @classmethod
    def read_folder(cls, folder: Path) -> "StoreInfo | None":
        """As `read`, for the store in `folder`."""
        path = folder / INFO_FILE
        remedy = f"delete {folder} and prepare it again: {prepare_command(folder.name)}"
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise BadInputError(f"{path}: can't be read ({error}); {remedy}") from error
        version = fields.get("format_version") if isinstance(fields, dict) else None
        if version != FORMAT_VERSION:
            raise BadInputError(f"{path}: store format {version}, this program reads {FORMAT_VERSION}; {remedy}")
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            faults = describe_validation(error, known_fields=tuple(cls.model_fields)).replace("\n", "; ")
            raise BadInputError(f"{path}: {faults}; {remedy}") from error


def data_root() -> Path:
    """Return the folder that holds the stores: the environment's SWEEP_DATA, else ~/.cache/sweep/data."""
    chosen = os.environ.get("SWEEP_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "sweep" / "data"


def store_folder(name: str, root: Path | None = None) -> Path:
    """Return the folder of the store `name`, which need not exist; BadInputError for a name that isn't a plain one."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise BadInputError(
            f"data set name {name!r}: use letters, digits, '_', '.' and '-' only, a letter or digit first"
        )
    return (data_root() if root is None else root) / name


def prepare_command(name: str) -> str:
    """Return the command that a person types to make the store `name`."""
    facts = KNOWN.get(name)
    if facts is None:
        return f"python -m sweep.data prepare {{{','.join(KNOWN)}}} --source FOLDER --as {name}"
    return f"python -m sweep.data prepare {name}" + ("" if facts.layout is None else " --source FOLDER")


def prepared(name: str, root: Path | None = None) -> StoreInfo:
    """Return the info of a store that has to exist; BadInputError gives the command that makes it."""
    info = StoreInfo.read(name, root)
    if info is None:
        where = data_root() if root is None else root
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


def _unknown_positive(info: StoreInfo | DataSetFacts, entry: str) -> str:
    classes = ", ".join(repr(name) for name in info.class_names[:LISTED_NAMES])
    if len(info.class_names) > LISTED_NAMES:
        classes += f" and {len(info.class_names) - LISTED_NAMES} more (python -m sweep.data info {info.name})"
    rules = ", ".join(info.rules) or "none"
    return f"positive {entry!r}: neither a rule nor a class of {info.name}; rules: {rules}; classes: {classes}"
