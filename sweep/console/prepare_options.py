"""Options of `sweep.data prepare`, grouped into the sections of `--help`, and the parsing of their texts."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console.options import WHERE
from trainables.data.dataset_facts import KNOWN
from trainables.errors import BadInputError

SOURCE, IMAGES, LABELS, SCENES = "Source", "Images", "Labels and splits", "Chips of scenes"

# Argument
DataSet = Annotated[str, typer.Argument(help=f"One of: {', '.join(KNOWN)}.")]

# Source
Source = Annotated[
    Path | None,
    typer.Option(help="Archive or folder as published; default: it is downloaded.", rich_help_panel=SOURCE),
]
Url = Annotated[str | None, typer.Option(help="URL of a mirror of the archive.", rich_help_panel=SOURCE)]
Lists = Annotated[
    Path | None,
    typer.Option(help="Folder with the official split lists; default: the source's folder.", rich_help_panel=SOURCE),
]

# Images
Fraction = Annotated[
    float | None,
    typer.Option(help="Fraction of the images to keep, chosen by a hash of their names.", rich_help_panel=IMAGES),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Bands to keep, comma-separated, or all. For your own files: the names of their bands, in order.",
        rich_help_panel=IMAGES,
    ),
]
Pixels = Annotated[
    str | None,
    typer.Option(
        help="Rule that converts values to pixels: thesis, percentiles, reflectance or none.",
        rich_help_panel=IMAGES,
    ),
]
Reflectance = Annotated[
    str | None,
    typer.Option(
        metavar="SCALE,OFFSET",
        help="With --pixels reflectance: (value + OFFSET) / SCALE; Sentinel-2: 10000,0, or 10000,-1000 since "
        "processing baseline 04.00.",
        rich_help_panel=IMAGES,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side in pixels: central square crop, resized bicubically with antialiasing.", rich_help_panel=IMAGES
    ),
]
Exclude = Annotated[
    str | None,
    typer.Option(help="Leave out patches by condition, comma-separated: snow, cloud.", rich_help_panel=IMAGES),
]
SkipCorrupt = Annotated[
    bool, typer.Option(help="Leave out images that can't be decoded, and list them.", rich_help_panel=IMAGES)
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="Values of float or signed pixels that become 0 and 65535; scenes: with --pixels none.",
        rich_help_panel=IMAGES,
    ),
]
Resample = Annotated[
    str | None,
    typer.Option(
        help="Method that enlarges a TIFF's smaller pages: nearest, bilinear or bicubic.", rich_help_panel=IMAGES
    ),
]

# Labels and splits
Labels = Annotated[
    str | None, typer.Option(help="Label set of BigEarthNet: 43, 19 or farmland.", rich_help_panel=LABELS)
]
Splits = Annotated[
    str | None,
    typer.Option(
        help="Rule for the splits, as far as the data set offers it: own, random, exact, place, block, tile, "
        "longitude, spatial, official, published, thesis.",
        rich_help_panel=LABELS,
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(
        help="CSV or Parquet file with columns path, label and optionally split, place.", rich_help_panel=LABELS
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(help="Column name in the table: label=species; repeatable.", rich_help_panel=LABELS),
]
Separator = Annotated[
    str | None, typer.Option(help="Character between the labels of one image in the table.", rich_help_panel=LABELS)
]
LabelTable = Annotated[
    Path,
    typer.Option(
        "--table",
        help="CSV or Parquet file with columns path and label; or, for chips of scenes, longitude, latitude, label and "
        "optionally date.",
        rich_help_panel=LABELS,
    ),
]
LabelSetName = Annotated[
    str,
    typer.Option("--name", help="Name of the label set; its store is STORE.NAME.", rich_help_panel=LABELS),
]
Number = Annotated[
    bool, typer.Option("--number", help="The column holds a number per image, not a class.", rich_help_panel=LABELS)
]
TestSplit = Annotated[
    str | None,
    typer.Option(help="Published split to test on: test or validation; default: test.", rich_help_panel=LABELS),
]
ClassLevel = Annotated[
    int | None,
    typer.Option(
        help="Level of the folders that name the classes; 1: directly below the source.", rich_help_panel=LABELS
    ),
]
Strict = Annotated[
    bool, typer.Option(help="Stop if an image, or a near duplicate, is in two splits.", rich_help_panel=LABELS)
]

# Scenes
ChipSize = Annotated[
    int | None, typer.Option(help="Side of a chip in pixels of the finest band; default: 120.", rich_help_panel=SCENES)
]
Stride = Annotated[
    int | None,
    typer.Option(help="Pixels between neighbouring chips; default: the chip size.", rich_help_panel=SCENES),
]
ChipsPerScene = Annotated[
    int | None,
    typer.Option(help="Maximum number of chips per scene, chosen by a hash of their place.", rich_help_panel=SCENES),
]
MaxCloud = Annotated[
    float | None,
    typer.Option(help="Maximum fraction of a chip under cloud, by the scene classification.", rich_help_panel=SCENES),
]
MaxShadow = Annotated[
    float | None,
    typer.Option(
        help="Maximum fraction of a chip in cloud shadow, by the scene classification.", rich_help_panel=SCENES
    ),
]
MaxSnow = Annotated[
    float | None,
    typer.Option(help="Maximum fraction of a chip under snow, by the scene classification.", rich_help_panel=SCENES),
]
MaxNodata = Annotated[
    float | None, typer.Option(help="Maximum fraction of a chip without data; default: 0.", rich_help_panel=SCENES)
]
Nodata = Annotated[
    float | None,
    typer.Option(
        help="Value of pixels without data; default: the GeoTIFF's own, 0 for Sentinel-2.", rich_help_panel=SCENES
    ),
]
BlockSize = Annotated[
    float | None,
    typer.Option(
        help="Side of the blocks of --splits block, in units of the CRS (UTM: metres); default: 10 chips.",
        rich_help_panel=SCENES,
    ),
]
Buffer = Annotated[
    float | None,
    typer.Option(
        help="Minimum gap between the splits' chips, in units of the CRS (UTM: metres); for --splits block, tile and "
        "longitude.",
        rich_help_panel=SCENES,
    ),
]

# Where
StoreName = Annotated[
    str | None,
    typer.Option("--as", help="Name of the prepared data set; default: NAME.", rich_help_panel=WHERE),
]


def comma_separated(text: str | None) -> tuple[str, ...] | None:
    """Return the parts of a comma-separated option, None if it isn't given; BadInputError for an empty part."""
    parts = None if text is None else tuple(part.strip() for part in text.split(","))
    if parts is not None and not all(parts):
        raise BadInputError(f"{text!r}: a part between commas is empty (a variable that isn't set?)")
    return parts


def low_and_high(text: str | None) -> tuple[float, float] | None:
    """Return the two numbers of `--value-range`; None if it isn't given."""
    return _two_numbers(text, "--value-range", "LOW,HIGH, as in --value-range=-1,1")


def scale_and_offset(text: str | None) -> tuple[float, float] | None:
    """Return the two numbers of `--reflectance`; None if it isn't given."""
    return _two_numbers(text, "--reflectance", "SCALE,OFFSET, as in --reflectance 10000,-1000")


def _two_numbers(text: str | None, option: str, form: str) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"{option} {text}: must be two numbers, {form}") from error
    return first, second


MEANINGS = ("path", "image", "label", "split", "place")
"""Meanings of the columns of a table of images."""
LABEL_MEANINGS = ("path", "label", "longitude", "latitude", "date")
"""Meanings of the columns of a table of labels that come later."""


def column_names(texts: list[str], meanings: tuple[str, ...] = MEANINGS) -> dict[str, str]:
    """Return the table's column names from `--column`, by the meaning of the column.

    Raises:
        BadInputError: A text isn't MEANING=COLUMN, or gives a meaning twice.
    """
    columns: dict[str, str] = {}
    for text in texts:
        name, separator, own = text.partition("=")
        if not separator or name not in meanings or not own:
            raise BadInputError(
                f"--column {text}: must be MEANING=COLUMN, such as label=species; meanings: {', '.join(meanings)}"
            )
        if name in columns:
            raise BadInputError(f"--column {text}: {name} is given before, as {columns[name]!r}; keep one")
        columns[name] = own
    return columns
