"""Files of a folder by the scene that their names tell, as downloads put those of many scenes into one folder.

A scene among them is given by a path that doesn't exist: the folder, and the beginning of its files' names.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sweep.maps.other_products import other_file

GRANULE = re.compile(
    r"^(?P<scene>(?:\w+_)?T\d\d[A-Z]{3}_\d{8}T\d{6})_(?:B\w\w|SCL)(?:_\d\dm)?\.(?:tif|tiff|jp2)$", re.IGNORECASE
)
"""Name of a Sentinel-2 band outside its product, by tile and time (ESA, Planetary Computer: T34VER_..._B02_10m.tif)."""
RESOLUTION = re.compile(r"R([1-9]0)m", re.IGNORECASE)
"""Folder of the bands of one resolution, in a product and in sentinel-s2-l2a of the Registry of Open Data on AWS."""


def scene_of(name: str) -> str:
    """Return the scene that a band file's name tells: its beginning; empty if it tells none."""
    other = other_file(name)
    if other is not None:
        return other.scene
    match = GRANULE.match(name)
    return match["scene"] if match else ""


def scenes_in(folder: Path) -> set[str]:
    """Return the scenes that the names of a folder's own band files tell."""
    return {scene_of(path.name) for path in folder.iterdir() if is_visible(path)} - {""}


def is_visible(path: Path) -> bool:
    """Return whether a path isn't hidden; macOS writes a hidden file ._NAME beside each file on other disks."""
    return not path.name.startswith(".")


def is_band_scene(scene: Path) -> bool:
    """Return whether a scene is a folder, or one of those whose bands share a folder; False: a file, or nothing."""
    return scene.is_dir() or (not scene.is_file() and next(_of_one(scene), None) is not None)


def scene_files(scene: Path) -> list[Path]:
    """Return the visible files of a scene, sorted: those in its folder and below, or those that begin with its name."""
    if not scene.is_dir():
        return sorted(_of_one(scene))
    found = (path for path in scene.rglob("*") if path.is_file())
    return sorted(path for path in found if all(map(is_visible, _below(path, scene))))


def _below(path: Path, folder: Path) -> Iterator[Path]:
    return (Path(part) for part in path.relative_to(folder).parts)


def _of_one(scene: Path) -> Iterator[Path]:
    """Yield the files in a scene's folder that begin with its name, and are a band or mask of it or lie beside one."""
    try:
        names = os.listdir(scene.parent)  # noqa: PTH208  # names alone, of folders with thousands of files
    except OSError:
        return
    own = [name for name in names if name.startswith((f"{scene.name}.", f"{scene.name}_"))]
    if any(scene_of(name) == scene.name for name in own):
        yield from (scene.parent / name for name in own)
