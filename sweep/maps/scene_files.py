"""Files of a folder by the scene that their names tell, as downloads put those of many scenes into one folder.

A scene among them is given by a path that doesn't exist: the folder, and the beginning of its files' names.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import lru_cache
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


def beginning_of(name: str, scenes: Container[str]) -> str:
    """Return the scene among `scenes` with which a file's name begins; empty if it begins with none."""
    ends = (match.start() for match in re.finditer(r"[._]", name))
    return next((name[:end] for end in ends if name[:end] in scenes), "")


def scenes_in(folder: Path) -> set[str]:
    """Return the scenes that the names of a folder's own band files tell."""
    return set(_by_scene(folder))


def is_visible(path: Path) -> bool:
    """Return whether a path isn't hidden; macOS writes a hidden file ._NAME beside each file on other disks."""
    return not path.name.startswith(".")


def is_band_scene(scene: Path) -> bool:
    """Return whether a scene is a folder, or one of those whose bands share a folder; False: a file, or nothing."""
    return scene.is_dir() or (scene.name in _by_scene(scene.parent) and not scene.is_file())


def scene_files(scene: Path) -> list[Path]:
    """Return the visible files of a scene, sorted: those in its folder and below, or those that begin with its name."""
    if not scene.is_dir():
        return [scene.parent / name for name in _by_scene(scene.parent).get(scene.name, ())]
    found = (path for path in scene.rglob("*") if path.is_file())
    return sorted(path for path in found if all(map(is_visible, _below(path, scene))))


def _below(path: Path, folder: Path) -> Iterator[Path]:
    return (Path(part) for part in path.relative_to(folder).parts)


def _by_scene(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return the names of a folder's files by the scene with which they begin, sorted; none for what is no folder."""
    try:
        return _grouped(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=8)
def _grouped(folder: Path, _changed: int) -> Mapping[str, Sequence[str]]:
    """Return the names of `_by_scene`; listed once as long as the folder is unchanged, as it may have thousands."""
    names = sorted(path.name for path in folder.iterdir() if is_visible(path))
    scenes = {scene_of(name) for name in names} - {""}
    found: dict[str, list[str]] = {scene: [] for scene in scenes}
    for name in names:
        if own := beginning_of(name, scenes):
            found[own].append(name)
    return found
