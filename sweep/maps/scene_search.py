"""Search of a folder for scenes: products, folders of bands, bands of many scenes in one folder, and raster files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sweep.maps.band_files import IMAGES, band_files, granules, refuse_other_products, sentinel_band
from sweep.maps.raster_file import DRIVERS
from sweep.maps.scene_facts import unread_files
from sweep.maps.scene_files import RESOLUTION, beginning_of, is_band_scene, is_visible, scene_of, scenes_in
from trainables.errors import BadInputError

ASSETS = ("red", "green", "blue")
"""Names of bands in STAC catalogues, which are those of any sensor."""


def find_scenes(folder: Path) -> list[Path]:
    """Return the scenes in a folder, or the folder itself, sorted by name; each folder is searched once.

    Raises:
        BadInputError: No scene, or files of bands that belong to none.
    """
    if not folder.exists():
        if is_band_scene(folder):
            return [folder]
        raise BadInputError(f"--source {folder}: no such folder")
    found = [folder] if folder.is_file() else list(_scenes_in(folder, set()))
    if not found:
        others = unread_files(folder)
        raise BadInputError(
            f"{folder}: no scene: neither a product (.SAFE), nor bands (*_B04.tif), nor a GeoTIFF"
            + (f"; it holds {'; '.join(others)}" if others else "")
        )
    return sorted(found)


def _scenes_in(folder: Path, searched: set[Path]) -> Iterator[Path]:
    """Yield the scenes in a folder that isn't `searched`, by way of another link to it."""
    if folder.resolve() in searched:
        return
    searched.add(folder.resolve())
    if folder.suffix.upper() == ".SAFE":
        if next(band_files(folder), None) is None:
            raise BadInputError(f"{folder}: a product without files of bands; fetch it again, or remove it")
        yield from granules(folder) or [folder]
        return
    inside = sorted(filter(is_visible, folder.iterdir()))
    folders = [path for path in inside if path.is_dir()]
    if any(path.name == IMAGES or RESOLUTION.fullmatch(path.name) for path in folders):
        yield folder
        return
    rasters = [path for path in inside if path.is_file() and path.suffix.lower() in DRIVERS]
    refuse_other_products(rasters)
    if any(sentinel_band(path.name) and not scene_of(path.name) for path in rasters):
        yield folder
        return
    yield from _beside_each_other(folder, rasters)
    for path in folders:
        yield from _scenes_in(path, searched)


def _beside_each_other(folder: Path, rasters: Sequence[Path]) -> Iterator[Path]:
    """Yield the scenes whose bands lie in a folder, and its raster files that are part of none of them."""
    scenes = scenes_in(folder)
    yield from (folder / scene for scene in sorted(scenes))
    others = [path for path in rasters if not beginning_of(path.name, scenes)]
    _refuse_assets(others)
    yield from others


def _refuse_assets(rasters: Sequence[Path]) -> None:
    names = {path.stem.lower(): path for path in rasters}
    if set(ASSETS) <= set(names):
        raise BadInputError(
            f"{names['red']}: is named as a band of any sensor in a STAC catalogue; name the files by the bands of "
            "theirs: B02.tif, B03.tif, B04.tif ... of Sentinel-2, the published names of Landsat and HLS, or stack "
            "them into one GeoTIFF"
        )
