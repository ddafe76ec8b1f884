"""Files of a Sentinel-2 product or folder of bands: its bands, and the offsets in its metadata."""

import re
from collections.abc import Iterator
from pathlib import Path

from sweep.maps.other_products import SPECTRAL, other_file, other_product
from sweep.maps.raster_file import DRIVERS
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.errors import BadInputError

BAND_FILE = re.compile(r"(?:^|_)(B(?:0[1-9]|1[0-2]|8A))(?:_(\d\d)m)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
OTHER_PRODUCT = re.compile(
    r"(L)[COTEM]\d\d_L\d\w\w_.*_(?:B\d+|QA_\w+)\.|(H)LS\.[LS]30\..*\.(?:B\w\w|Fmask)\.", re.IGNORECASE
)
OTHER_PRODUCTS = {"L": "Landsat", "H": "HLS"}
BAND_ORDER = (*SENTINEL_2_BANDS, *SPECTRAL)
IMAGES = "IMG_DATA"
"""Folder of the bands in a granule."""
MASKS = "MSK_"
"""Name prefix of a product's quality masks, whose names otherwise look like bands."""
PRODUCT_FILES = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
ADDED = re.compile(r'_ADD_OFFSET band_id="(\d+)"\s*>\s*(-?\d+)\s*<')
BASELINE = re.compile(r"^S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})_R\d{3}_")
FIRST_WITH_OFFSETS, UNKNOWN_BASELINE = 400, 9999
"""Processing baselines of product names: 04.00 introduced offsets; BigEarthNet v2.0 writes 99.99."""
METADATA_BYTES = 64 * 2**20
"""Maximum size of a product's XML, which has about 50 kB."""


def band_files(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield band, resolution in metres by the file name (0: none) and path of the band files in a folder and below."""
    for path in sorted(folder.rglob("*")):
        if OTHER_PRODUCT.match(path.name):
            other = other_file(path.name)
            if other is not None and other.band and path.is_file():
                yield other.band, 0, path
            continue
        match = BAND_FILE.search(path.name)
        if match is not None and not path.name.upper().startswith(MASKS) and path.is_file():
            yield match[1].upper(), int(match[2] or 0), path


def granules(product: Path) -> list[Path]:
    """Return the granules of a product that has several, as products had until 2016, a tile each; else nothing."""
    found = [path.parent for path in sorted(product.glob(f"GRANULE/*/{IMAGES}"))]
    return found if len(found) > 1 else []


def refuse_other_products(folder: Path) -> None:
    """Raise BadInputError if a folder holds band files of Landsat or HLS, but none that can be read."""
    if other_product(folder) is not None:
        return
    for path in sorted(folder.iterdir()):
        match = OTHER_PRODUCT.match(path.name)
        if match is not None and path.suffix.lower() in DRIVERS:
            product = OTHER_PRODUCTS[(match[1] or match[2]).upper()]
            raise BadInputError(
                f"{path}: is a file of {product}, of which the surface reflectance is read (Collection 2 level 2, "
                "*_SR_B2.TIF ...; HLS.*.B02.tif ...); fetch that, or stack its bands into one GeoTIFF (gdalbuildvrt "
                "-separate, gdal_translate)"
            )


def finest_files(folder: Path) -> dict[str, Path]:
    """Return the finest file of each band; BadInputError if two are equally fine."""
    files: dict[tuple[str, int], Path] = {}
    for band, metres, path in band_files(folder):
        if (band, metres) in files:
            other = files[band, metres].relative_to(folder)
            raise BadInputError(
                f"{folder}: contains several scenes ({other}, {path.relative_to(folder)}); give the folder of one, or "
                "put the files of each scene into a folder of its own"
            )
        files[band, metres] = path
    order = sorted(files, key=lambda key: (BAND_ORDER.index(key[0]), -key[1]))
    return {band: files[band, metres] for band, metres in order}


def band_offsets(folder: Path) -> dict[str, int]:
    """Return the offset of each band in a Sentinel-2 product's metadata, -1000 since January 2022."""
    pairs: list[tuple[str, str]] = []
    whole = product_of(folder)
    for path in _metadata(whole):
        with path.open(encoding="utf-8", errors="replace") as file:
            pairs = ADDED.findall(file.read(METADATA_BYTES))
        break
    baseline = BASELINE.search(whole.name)
    if not pairs and baseline is not None and FIRST_WITH_OFFSETS <= int(baseline[1]) < UNKNOWN_BASELINE:
        raise BadInputError(
            f"{folder}: is of baseline {baseline[1][:2]}.{baseline[1][2:]} by its name, but its metadata "
            f"({' or '.join(PRODUCT_FILES)}) lacks the offsets of the values; fetch the whole product again"
        )
    return {SENTINEL_2_BANDS[int(k)]: int(value) for k, value in pairs if int(k) < len(SENTINEL_2_BANDS)}


def has_metadata(folder: Path) -> bool:
    """Return whether a folder of bands is in a product with its metadata."""
    return next(_metadata(product_of(folder)), None) is not None


def product_of(folder: Path) -> Path:
    """Return the product that contains a folder of bands; the folder itself outside products."""
    return next((one for one in (folder, *folder.resolve().parents) if one.suffix.upper() == ".SAFE"), folder)


def _metadata(product: Path) -> Iterator[Path]:
    return (one for name in PRODUCT_FILES for one in sorted(product.rglob(name)) if one.is_file())
