"""Band files of a Sentinel-2 product or folder, and the offsets in its metadata."""

import re
from collections.abc import Iterator
from pathlib import Path

from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.errors import BadInputError

BAND_FILE = re.compile(r"(?:^|_)(B(?:0[1-9]|1[0-2]|8A))(?:_(\d\d)m)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
MASKS = "MSK_"
"""Name prefix of a product's quality masks, whose names otherwise look like bands."""
PRODUCT_FILES = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
ADDED = re.compile(r'_ADD_OFFSET band_id="(\d+)"\s*>\s*(-?\d+)\s*<')
METADATA_BYTES = 64 * 2**20
"""Maximum size of a product's XML, which has about 50 kB."""


def band_files(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield band, resolution in metres by the file name (0: none) and path of the band files in a folder and below."""
    for path in sorted(folder.rglob("*")):
        match = BAND_FILE.search(path.name)
        if match is not None and not path.name.upper().startswith(MASKS) and path.is_file():
            yield match[1].upper(), int(match[2] or 0), path


def finest_files(folder: Path) -> dict[str, Path]:
    """Return the finest file of each band; BadInputError if two are equally fine."""
    files: dict[tuple[str, int], Path] = {}
    for band, metres, path in band_files(folder):
        if (band, metres) in files:
            other = files[band, metres].relative_to(folder)
            raise BadInputError(
                f"{folder}: contains several scenes ({other}, {path.relative_to(folder)}); give the folder of one"
            )
        files[band, metres] = path
    order = sorted(files, key=lambda key: (SENTINEL_2_BANDS.index(key[0]), -key[1]))
    return {band: files[band, metres] for band, metres in order}


def band_offsets(folder: Path) -> dict[str, int]:
    """Return the offset of each band in a Sentinel-2 product's metadata, -1000 since January 2022."""
    for path in (one for name in PRODUCT_FILES for one in sorted(folder.rglob(name)) if one.is_file()):
        with path.open(encoding="utf-8", errors="replace") as file:
            pairs = ADDED.findall(file.read(METADATA_BYTES))
        return {SENTINEL_2_BANDS[int(k)]: int(value) for k, value in pairs if int(k) < len(SENTINEL_2_BANDS)}
    return {}
