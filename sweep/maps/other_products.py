"""Band files of HLS v2 and of Landsat Collection 2 level 2, by their names: bands, scale, date and mask of clouds.

Bands of Landsat have names of their part of the spectrum, since its B4 is red and its B5 near infrared.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainables.data.class_names import SENTINEL_2_BANDS

SPECTRAL = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
"""Names of Landsat's bands, by wavelength."""
HLS = r"^(?P<scene>HLS\.{kind}\.(?P<tile>T\w{{5}})\.(?P<date>\d{{7}})T\d{{6}}\.v\d+\.\d+)\.(?P<band>B\w\w|Fmask)\.tif$"
LANDSAT = (
    r"^(?P<scene>L{kind}_L2S[PR]_(?P<tile>\d{{6}})_(?P<date>\d{{8}})_\d{{8}}_\d\d_\w\w)"
    r"_(?P<band>SR_B\d|QA_PIXEL)\.tif$"
)


@dataclass(frozen=True)
class OtherProduct:
    """Kind of product: pattern of its files' names, the name of each band, and its scale of reflectance."""

    pattern: re.Pattern[str]
    bands: Mapping[str, str]
    scale: tuple[float, float]
    """Scale and offset: reflectance = scale * value + offset."""
    mask: str
    """Name of the band with a bit for each cover."""


def _product(form: str, kind: str, bands: Mapping[str, str]) -> OtherProduct:
    pattern = re.compile(form.format(kind=kind), re.IGNORECASE)
    is_hls = form is HLS
    return OtherProduct(pattern, bands, (1e-4, 0.0) if is_hls else (2.75e-5, -0.2), "Fmask" if is_hls else "QA_PIXEL")


PRODUCTS = (
    _product(HLS, "S30", {band: band for band in SENTINEL_2_BANDS}),
    _product(HLS, "L30", {f"B0{number}": name for number, name in enumerate(SPECTRAL, 1)}),
    _product(LANDSAT, "[CO]0[89]", {f"SR_B{number}": name for number, name in enumerate(SPECTRAL, 1)}),
    _product(
        LANDSAT,
        "[TE]0[457]",
        {f"SR_B{number}": name for number, name in zip((1, 2, 3, 4, 5, 7), SPECTRAL[1:], strict=True)},
    ),
)
"""HLS User Guide v2.0; Landsat 8-9 and 4-7 Collection 2 Level 2 Science Product Guides (LSDS-1619, LSDS-1618)."""


@dataclass(frozen=True)
class OtherFile:
    """File of such a product: its band, or the mask, and the scene that its name tells."""

    product: OtherProduct
    scene: str
    tile: str
    date: str
    """Acquisition date as YYYY-MM-DD."""
    band: str
    """Name of the band; empty for the mask."""


@lru_cache
def other_file(name: str) -> OtherFile | None:
    """Return what the name of a file tells; None if it is none of these products' bands or masks."""
    for product in PRODUCTS:
        match = product.pattern.match(name)
        if match is None:
            continue
        own = {band.upper(): named for band, named in product.bands.items()}
        band, is_mask = own.get(match["band"].upper(), ""), match["band"].upper() == product.mask.upper()
        if band or is_mask:
            return OtherFile(product, match["scene"], match["tile"].upper(), _date(match["date"]), band)
    return None


def other_product(folder: Path) -> OtherFile | None:
    """Return the first band file of such a product in a folder; None if there is none."""
    found = (other_file(path.name) for path in sorted(folder.iterdir())) if folder.is_dir() else iter(())
    return next((file for file in found if file is not None and file.band), None)


def mask_file(folder: Path) -> tuple[Path, str] | None:
    """Return the mask of clouds of such a product, and the mask's name; None if there is none."""
    for path in sorted(folder.iterdir()):
        file = other_file(path.name)
        if file is not None and not file.band:
            return path, file.product.mask
    return None


def _date(digits: str) -> str:
    """Return the date of YYYYMMDD, or of YYYY and the day of the year; empty if there is no such day."""
    form = "%Y%j" if len(digits) == 7 else "%Y%m%d"
    try:
        return datetime.datetime.strptime(digits, form).date().isoformat()
    except ValueError:
        return ""
