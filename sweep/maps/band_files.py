"""Files of a Sentinel-2 product or folder of bands: its bands, and the offsets in its metadata."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweep.maps.other_products import OtherFile, first_band, other_file
from sweep.maps.scene_files import RESOLUTION, beginning_of, is_band_scene, scene_files, scene_of, scenes_in
from trainables.data.bands import SPECTRAL
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.errors import BadInputError

BAND_FILE = re.compile(r"(?:^|_)(B(?:0[1-9]|1[0-2]|8A))(?:_(\d\d)m)?\.(?:tif|tiff|jp2)$", re.IGNORECASE)
OTHER_PRODUCT = re.compile(
    r"(?P<letter>L)[COTEM]\d\d_.*_(?:\w*B\d+|\w*band\d+|\w*QA_?\w*)\.(?:tif|tiff|jp2)$"
    r"|(?P<hls>H)LS\.[LS]30\.T\w{5}\.\d{7}T\d{6}\.v\d+\.\d+\.(?:B\w\w|Fmask)\.tif$",
    re.IGNORECASE,
)
"""File of one band or mask of any product of Landsat or HLS, whether it is read or not."""
OTHER_PRODUCTS = {"L": "Landsat", "H": "HLS"}
BAND_ORDER = (*SENTINEL_2_BANDS, *SPECTRAL)
IMAGES = "IMG_DATA"
"""Folder of the bands in a granule."""
MASKS = "MSK_"
"""Name prefix of a product's quality masks, whose names otherwise look like bands."""
PRODUCT_FILES = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
ADDED = re.compile(r'_ADD_OFFSET band_id="(\d+)"\s*>\s*(-?\d+)\s*<')
"""BOA_ADD_OFFSET of level 2A, RADIO_ADD_OFFSET of level 1C (Sentinel-2 Products Specification Document)."""
BASELINE = re.compile(r"^S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})_R\d{3}_")
FIRST_WITH_OFFSETS, UNKNOWN_BASELINE = 400, 9999
"""Processing baselines of product names: 04.00 introduced offsets; BigEarthNet v2.0 writes 99.99."""
METADATA_BYTES = 64 * 2**20
"""Maximum size of a product's XML, which has about 50 kB."""


def band_files(scene: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield band, resolution in metres by the file name (0: none) and path of a scene's band files."""
    return _bands_of(scene_files(scene))


def _bands_of(files: Sequence[Path]) -> Iterator[tuple[str, int, Path]]:
    for path in files:
        other, match = other_file(path.name), sentinel_band(path.name)
        if other is not None and other.band:
            yield other.band, 0, path
        elif match is not None:
            folder = RESOLUTION.fullmatch(path.parent.name)
            yield match[1].upper(), int(match[2] or (folder[1] if folder else 0)), path


def sentinel_band(name: str) -> re.Match[str] | None:
    """Return the band and, if it is there, the resolution in metres in the name of a Sentinel-2 band's file."""
    is_other = OTHER_PRODUCT.match(name) is not None or name.upper().startswith(MASKS)
    return None if is_other else BAND_FILE.search(name)


def granules(product: Path) -> list[Path]:
    """Return the granules of a product that has several, as products had until 2016, a tile each; else nothing."""
    found = [path.parent for path in sorted(product.glob(f"GRANULE/*/{IMAGES}"))]
    return found if len(found) > 1 else []


def refuse_other_products(files: Sequence[Path]) -> None:
    """Raise BadInputError for a band file of Landsat or HLS of a scene of which no band can be read."""
    read = {scene_of(path.name) for path in files if (one := other_file(path.name)) is not None and one.band}
    for path in sorted(files):
        match = OTHER_PRODUCT.match(path.name)
        if match is None or beginning_of(path.name, read):
            continue
        if other_file(path.name) is not None:
            raise BadInputError(f"{path}: is the mask of a scene whose bands aren't here; fetch them, or remove it")
        raise BadInputError(
            f"{path}: is a file of {OTHER_PRODUCTS[(match['letter'] or match['hls']).upper()]}, of which the surface "
            "reflectance is read (Collection 2 level 2, *_02_*_SR_B2.TIF ...; HLS.*.v2.0.B02.tif ...); fetch that, or "
            "stack its bands into one GeoTIFF (gdalbuildvrt -separate, gdal_translate)"
        )


def finest_files(scene: Path) -> dict[str, Path]:
    """Return the finest file of each band; BadInputError if the files are of several scenes."""
    files: dict[tuple[str, int], Path] = {}
    for band, metres, path in band_files(scene):
        first = next(iter(files.values()), path)
        if (band, metres) in files or scene_of(path.name) != scene_of(first.name):
            raise _several(scene, files.get((band, metres), first), path)
        files[band, metres] = path
    order = sorted(files, key=lambda key: (BAND_ORDER.index(key[0]), -key[1]))
    return {band: files[band, metres] for band, metres in order}


def _several(scene: Path, *paths: Path) -> BadInputError:
    names = ", ".join(str(path.relative_to(scene if scene.is_dir() else scene.parent)) for path in paths)
    own = paths[0].parent / scene_of(paths[0].name)
    one = "the folder of one" if own == paths[0].parent else f"one ({product_of(own)})"
    return BadInputError(
        f"{scene}: contains several scenes ({names}); give {one}, or put the files of each scene into a folder of its "
        "own"
    )


def other_scene(scene: Path) -> OtherFile | None:
    """Return what the names of a scene's files tell, if it is of Landsat or HLS; None for other scenes."""
    return first_band(scene_files(scene)) if is_band_scene(scene) else None


def band_offsets(folder: Path) -> dict[str, int]:
    """Return the offset of each band in a Sentinel-2 product's metadata, -1000 since January 2022.

    Raises:
        BadInputError: The product is of a baseline with offsets, and its metadata lacks them.
    """
    pairs: list[tuple[str, str]] = []
    whole = product_of(folder)
    for path in _metadata(folder):
        with path.open(encoding="utf-8", errors="replace") as file:
            pairs = ADDED.findall(file.read(METADATA_BYTES))
        break
    baseline = BASELINE.search(whole.name if whole.is_dir() else whole.parent.name)
    if not pairs and baseline is not None and FIRST_WITH_OFFSETS <= int(baseline[1]) < UNKNOWN_BASELINE:
        raise BadInputError(
            f"{folder}: is of baseline {baseline[1][:2]}.{baseline[1][2:]} by its name, but its metadata "
            f"({' or '.join(PRODUCT_FILES)}) lacks the offsets of the values; fetch the whole product again"
        )
    return {SENTINEL_2_BANDS[int(k)]: int(value) for k, value in pairs if int(k) < len(SENTINEL_2_BANDS)}


def has_metadata(folder: Path) -> bool:
    """Return whether a folder of bands is in a product with its metadata."""
    return next(_metadata(folder), None) is not None


def product_of(folder: Path) -> Path:
    """Return the product that contains a scene of band files; outside products the scene itself."""
    return next((one for one in (folder, *folder.resolve().parents) if one.suffix.upper() == ".SAFE"), folder)


def _metadata(scene: Path) -> Iterator[Path]:
    """Yield the metadata of a scene's product; beside bands outside a product, only if they are of one scene."""
    product = product_of(scene)
    if product.is_dir():
        found = (path for name in PRODUCT_FILES for path in sorted(product.rglob(name)))
    elif scenes_in(product.parent) == {product.name}:
        found = (product.parent / name for name in PRODUCT_FILES)
    else:
        return
    yield from (path for path in found if path.is_file())
