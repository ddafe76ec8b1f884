"""Band files of HLS v2 and of Landsat Collection 2 level 2, by their names: bands, scale, date and mask of clouds.

Names, fill values and scales: HLS Product User Guide v2.0 (lpdaac.usgs.gov, document 1698); Landsat 8-9 and 4-7
Collection 2 Level 2 Science Product Guides (LSDS-1619, LSDS-1618). Bands of Landsat have names of their part of the
spectrum, since its B4 is red and its B5 near infrared.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainables.data.bands import SPECTRAL
from trainables.data.class_names import SENTINEL_2_BANDS

OLI = dict(zip(SPECTRAL, (443.0, 482.0, 561.4, 654.6, 864.7, 1608.9, 2200.7), strict=True))
"""Central wavelengths in nm of the Operational Land Imager, Landsat 8 and 9 (Barsi et al. 2014, rs61010232)."""
ETM = dict(zip(SPECTRAL[1:], (485.0, 560.0, 660.0, 835.0, 1650.0, 2220.0), strict=True))
"""Middles of the bands of Landsat 7's Enhanced Thematic Mapper Plus in nm (USGS, band designations)."""
TM = dict(zip(SPECTRAL[1:], (485.0, 560.0, 660.0, 830.0, 1650.0, 2215.0), strict=True))
"""Middles of the bands of the Thematic Mapper of Landsat 4 and 5 in nm (USGS, band designations)."""
OF_HLS = dict(zip(SPECTRAL, ("B01", "B02", "B03", "B04", "B8A", "B11", "B12"), strict=True))
"""Bands of S30 that HLS adjusts to the spectrum of L30's; its B08 and red edges have no counterpart."""
HLS = r"^(?P<scene>HLS\.{kind}\.(?P<tile>T\w{{5}})\.(?P<date>\d{{7}})T\d{{6}}\.v2\.\d)\.(?P<band>B\w\w|Fmask)\.tif$"
HLS_DATE = re.compile(r"^HLS\.[LS]30\.T\w{5}\.(\d{7})T", re.IGNORECASE)
LANDSAT = (
    r"^(?P<scene>L{kind}_L2S[PR]_(?P<tile>\d{{6}})_(?P<date>\d{{8}})_\d{{8}}_02_\w\w)"
    r"_(?P<band>SR_B\d|QA_PIXEL)\.tif$"
)


@dataclass(frozen=True)
class OtherProduct:
    """Kind of product: pattern of its files' names, the name of each band, and its scale of reflectance."""

    family: str
    """Name of the products whose values have one scale."""
    pattern: re.Pattern[str]
    bands: Mapping[str, str]
    scale: tuple[float, float]
    """Scale and offset: reflectance = scale * value + offset."""
    fill: float
    """Value of pixels without data, also of files that lost the statement of it."""
    mask: str
    """Name of the band with a bit for each cover."""
    wavelengths: Mapping[str, float]
    """Central wavelength in nm of Landsat's bands, by name; Sentinel-2's are known by their names."""
    common: Mapping[str, str]
    """Own band by the name that it has in Landsat, if it has another."""
    shifts: bool
    """Whether scenes of one place begin at different corners, multiples of 300 m apart, from date to date."""


def _hls(kind: str, bands: Mapping[str, str], common: Mapping[str, str]) -> OtherProduct:
    pattern = re.compile(HLS.format(kind=kind), re.IGNORECASE)
    return OtherProduct("HLS", pattern, bands, (1e-4, 0.0), -9999.0, "Fmask", OLI, common, shifts=False)


def _landsat(kind: str, numbers: Sequence[int], wavelengths: Mapping[str, float]) -> OtherProduct:
    pattern = re.compile(LANDSAT.format(kind=kind), re.IGNORECASE)
    bands = {f"SR_B{number}": name for number, name in zip(numbers, wavelengths, strict=True)}
    return OtherProduct("Landsat", pattern, bands, (2.75e-5, -0.2), 0.0, "QA_PIXEL", wavelengths, {}, shifts=True)


PRODUCTS = (
    _hls("S30", {band: band for band in SENTINEL_2_BANDS}, OF_HLS),
    _hls("L30", {f"B0{number}": name for number, name in enumerate(SPECTRAL, 1)}, {}),
    _landsat("[CO]0[89]", range(1, 8), OLI),
    _landsat("E07", (1, 2, 3, 4, 5, 7), ETM),
    _landsat("T0[45]", (1, 2, 3, 4, 5, 7), TM),
)


@dataclass(frozen=True)
class OtherFile:
    """File of such a product: its band, or the mask, and the scene in its name."""

    product: OtherProduct
    scene: str
    tile: str
    date: str
    """Acquisition date as YYYY-MM-DD."""
    band: str
    """Name of the band; empty for the mask."""


@lru_cache(maxsize=2**14)
def other_file(name: str) -> OtherFile | None:
    """Return the band and scene in a file's name; None if it is none of these products' bands or masks."""
    for product in PRODUCTS:
        match = product.pattern.match(name)
        if match is None:
            continue
        own = {band.upper(): named for band, named in product.bands.items()}
        band, is_mask = own.get(match["band"].upper(), ""), match["band"].upper() == product.mask.upper()
        if band or is_mask:
            return OtherFile(product, match["scene"], match["tile"].upper(), _date(match["date"]), band)
    return None


def hls_date(name: str) -> str:
    """Return the date in a name that begins as HLS files do, such as that of a stack of them; empty for others."""
    match = HLS_DATE.match(name)
    return _date(match[1]) if match else ""


def first_band(files: Sequence[Path]) -> OtherFile | None:
    """Return the first band file of such a product among files; None if there is none."""
    found = (other_file(path.name) for path in files)
    return next((file for file in found if file is not None and file.band), None)


def mask_file(files: Sequence[Path]) -> tuple[Path, str] | None:
    """Return the mask of clouds of such a product among files, and the mask's name; None if there is none."""
    for path in files:
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
