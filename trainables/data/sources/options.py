"""Options of a store, checked against the data set's choices."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.data.bands import BAND_NAME, DIGITAL_NUMBERS
from trainables.data.dataset_facts import OWN_FILES, DataSetFacts
from trainables.data.sources.chip_choice import NAMES as CHIP_NAMES
from trainables.data.sources.chip_choice import ChipChoice, chip_faults
from trainables.data.sources.reading import AS_READ, RESAMPLING, ReadingOptions
from trainables.errors import BadInputError
from trainables.fields.band_spelling import band_name

PIXEL_RULES = {
    "thesis": "clip(value / 2000 * 255, 0, 255), truncated",
    "percentiles": "each band's 2nd to 98th percentile, over at most 1,000 images by stable hash, to 0 ... 255",
    "reflectance": "clip((value + offset) / scale, 0, 1), in 16 bits",
    "none": "as they are",
}
SPLIT_RULES = {
    "thesis": "as in the thesis",
    "published": "as published",
    "official": "the official lists",
    "own": "as the source says, else a stable hash of the name",
    "exact": "by class, exactly a fifth test, by rank of the stable hash of the name",
    "random": "by class, stable hash of the name",
    "spatial": "the published lists of the spatial split, 60 % train, 20 % validation, 20 % test by longitude",
    "block": "by blocks of ground, stable hash of the block",
    "tile": "by tile, stable hash of its name",
    "longitude": "by longitude, 60 % train in the west, 20 % validation, 20 % test in the east",
    "place": "by place, stable hash of its name",
}
OWN_SPLITS = ("own", "published", "official", "spatial")
"""Split rules that use the source's own splits."""
BY_LONGITUDE = ("longitude", "spatial")
"""Split rules that cut EuroSAT as torchgeo's EuroSATSpatial does."""
TEST_SPLITS = ("test", "validation")
SMALLEST_SIZE, LARGEST_SIZE = 4, 8192
AS_PRODUCTS = (DIGITAL_NUMBERS, 0.0)
"""Scale and offset of Sentinel-2 products before processing baseline 04.00; later products have the offset -1000."""


@dataclass(frozen=True)
class StoreOptions:
    """Options of a store: with the source they determine its content, and all are part of its fingerprint."""

    fraction: float
    """Share of the images to keep: those with the smallest stable hashes."""
    bands: tuple[str, ...]
    """Bands to read; empty: the source's channels."""
    pixels: str
    image_size: int | None
    """Side in pixels; None: as in the source."""
    labels: str
    """Label set of the data set; empty: the source's classes."""
    splits: str
    exclude: tuple[str, ...]
    skip_corrupt: bool
    separator: str | None
    """Separator between several labels of one image in a table; None: one label per image."""
    reading: ReadingOptions = AS_READ
    """Options for files that can be read in more than one way."""
    reflectance: tuple[float, float] | None = None
    """Scale and offset of the rule `reflectance`; None with other rules."""
    chips: ChipChoice | None = None
    """Selection of the chips that are cut from scenes; None: images are stored whole."""
    test_split: str = "test"
    """The source's split to test on: test, or validation if test labels are unpublished."""

    def described(self, facts: DataSetFacts) -> dict[str, str | int | float]:
        """Return the options by name for a store's info, with the rules in words."""
        pixels = "" if not facts.pixels else f"{self.pixels}: {PIXEL_RULES[self.pixels]}"
        shares = "" if facts.test_share is None or self.splits in BY_LONGITUDE else f", {facts.test_share:.0%} test"
        described = {
            "fraction": self.fraction,
            "bands": ", ".join(self.bands),
            "pixels": pixels,
            "reflectance": ",".join(map(_exact, self.reflectance or ())),
            "image size": self.image_size,
            "labels": self.labels,
            "splits": f"{self.splits}: {SPLIT_RULES[self.splits]}" + (shares if self.splits != "official" else ""),
            "without": ", ".join(self.exclude),
            "corrupt images": "left out" if self.skip_corrupt else "",
            "label separator": self.separator,
            "value range": self.reading.written_range,
            "resampling of pages": self.reading.resample,
            "test split": "" if self.test_split == "test" else self.test_split,
            **(self.chips.described() if self.chips else {}),
            **facts.recipe,
        }
        return {name: value for name, value in described.items() if value not in ("", None)}


def _exact(number: float) -> str:
    """Return a number as short text that reads back as the same number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))


def choose(facts: DataSetFacts, chosen: Mapping[str, Any]) -> StoreOptions:
    """Return the store options, with the data set's defaults for options that aren't chosen.

    Args:
        facts: Data set with its options and defaults.
        chosen: Option values by name; None: default.

    Raises:
        BadInputError: Unknown options, or values that the data set doesn't offer; one line per fault.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    faults = list(_faults(facts, given))
    if faults:
        raise BadInputError(*faults)
    bands = tuple(map(band_name, given.get("bands") or facts.default_bands))
    pixels = given.get("pixels") or (facts.pixels[0] if facts.pixels else "none")
    return StoreOptions(
        fraction=float(given.get("fraction", 1.0)),
        bands=facts.bands if bands == ("all",) else bands,
        pixels=pixels,
        reflectance=(given.get("reflectance") or AS_PRODUCTS) if pixels == "reflectance" else None,
        image_size=given.get("image_size") or facts.image_size,
        labels=given.get("labels") or next(iter(facts.label_sets), ""),
        splits=given.get("splits") or facts.splits[0],
        exclude=tuple(name for name in facts.exclusions if name in given.get("exclude", ())),
        skip_corrupt=bool(given.get("skip_corrupt", False)),
        separator=given.get("separator"),
        reading=ReadingOptions(given.get("value_range"), given.get("resample", "")),
        chips=ChipChoice.of(given) if facts.name == "scenes" else None,
        test_split=given.get("test_split", "test"),
    )


def _faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    known = [
        name
        for name in (*StoreOptions.__dataclass_fields__, *ReadingOptions.__dataclass_fields__)
        if name not in ("reading", "chips")
    ]
    known += CHIP_NAMES
    unknown = [name for name in given if name not in known]
    fraction = given.get("fraction", 1.0)
    faults = [] if 0.0 < fraction <= 1.0 else [f"fraction must be > 0 and <= 1, got {fraction}"]
    faults += [f"{name}: no such option; known: {', '.join(known)}" for name in unknown]
    faults += _reading_faults(facts, given)
    if fraction != 1.0 and given.get("splits", facts.splits[0]) == "thesis" and facts.thesis_share is not None:
        faults.append(f"--fraction {fraction}: the thesis' splits take a quarter by themselves; add --splits random")
    if given.get("image_size", SMALLEST_SIZE) < SMALLEST_SIZE:
        faults.append(f"--image-size must be >= {SMALLEST_SIZE} pixels, got {given['image_size']}")
    if given.get("image_size", SMALLEST_SIZE) > LARGEST_SIZE:
        faults.append(f"--image-size must be <= {LARGEST_SIZE} pixels, got {given['image_size']}")
    faults += _offer_faults(facts, given)
    if "separator" in given and facts.name != "folder":
        faults.append(f"--separator {given['separator']}: is for the table of a folder; leave it out")
    faults += _split_faults(facts, given)
    faults += chip_faults(given, scenes=facts.name == "scenes")
    faults += _reflectance_faults(facts, given)
    return [*faults, *_band_faults(facts, given)]


def _offer_faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    """Return an error for each value that the data set doesn't offer."""
    faults = []
    offered: dict[str, tuple[str, ...]] = {
        **({} if facts.name in OWN_FILES else {"bands": (*facts.bands, *(["all"] if facts.bands else []))}),
        "pixels": facts.pixels,
        "labels": tuple(facts.label_sets) if len(facts.label_sets) > 1 else (),
        "splits": facts.splits if len(facts.splits) > 1 else (),
        "exclude": facts.exclusions,
    }
    for name, values in offered.items():
        value = given.get(name, ())
        for one in (value,) if isinstance(value, str) else value:
            if (band_name(one) if name == "bands" else one) not in values:
                offer = f"choose from {', '.join(values)}" if values else f"{facts.name} offers no choice; leave it out"
                faults.append(f"--{name} {one}: {offer}")
    return faults


def _band_faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    """Return errors for names of bands that aren't plain, or are given twice."""
    faults = []
    bands = tuple(map(band_name, given.get("bands", ())))
    if facts.name in OWN_FILES:
        faults += [f"--bands {one}: must be a plain name" for one in bands if not re.fullmatch(BAND_NAME, one)]
    if len(set(bands)) < len(bands) or ("all" in bands and len(bands) > 1):
        faults.append(f"--bands {','.join(bands)}: name each band once, or give only all")
    return faults


def _reading_faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    faults = []
    own = facts.name in OWN_FILES
    if facts.name == "scenes" and "value_range" in given and given.get("pixels") != "none":
        return ["--value-range: is for scenes with --pixels none; add that, or leave it out"]
    for name in ("value_range", "resample"):
        if name in given and not own:
            faults.append(f"--{name.replace('_', '-')}: {facts.name} says itself what its values are; leave it out")
    if (chosen := given.get("value_range")) is not None and not (
        all(math.isfinite(value) for value in chosen) and chosen[0] < chosen[1]
    ):
        faults.append(f"--value-range {chosen[0]:g},{chosen[1]:g}: LOW must be below HIGH")
    if (rule := given.get("resample")) is not None and rule not in RESAMPLING:
        faults.append(f"--resample {rule}: choose from {', '.join(RESAMPLING)}")
    return faults


def _reflectance_faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    stated = given.get("reflectance")
    if stated is None:
        own = facts.name in ("folder", "parquet") and given.get("pixels") == "reflectance"
        return ["--pixels reflectance: state the files' scale and offset with --reflectance SCALE,OFFSET"] * own
    if given.get("pixels") != "reflectance":
        return [f"--reflectance {stated[0]:g},{stated[1]:g}: is for --pixels reflectance; add that, or leave it out"]
    if not all(map(math.isfinite, stated)) or stated[0] <= 0.0:
        return [f"--reflectance {stated[0]:g},{stated[1]:g}: SCALE must be > 0, and OFFSET a number"]
    return []


def _split_faults(facts: DataSetFacts, given: Mapping[str, Any]) -> list[str]:
    chosen, rule = given.get("test_split", "test"), given.get("splits", facts.splits[0])
    if chosen not in TEST_SPLITS:
        return [f"--test-split {chosen}: choose from {', '.join(TEST_SPLITS)}"]
    if chosen != "test" and rule not in OWN_SPLITS:
        return [f"--test-split {chosen}: is for the source's own splits; leave it out with --splits {rule}"]
    return []
