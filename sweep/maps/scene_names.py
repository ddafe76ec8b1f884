"""Name, tile and acquisition date of a scene, as the names of its folder and files tell them."""

import datetime
import re
from contextlib import suppress
from pathlib import Path

from sweep.maps.band_files import band_files, has_metadata, other_scene, product_of
from sweep.maps.other_products import hls_date
from sweep.maps.scene_files import is_band_scene, scene_of

DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:T?[0-2]\d[0-5]\d[0-5]\d)?(?!\d)", re.ASCII
)
"""Date as 20230613 or 2023-06-13, which a time may follow; other forms aren't read, since they may be a position."""
SENSED = re.compile(r"^S2[A-D]_OPER_.*_V((?:19|20)\d\d)(\d\d)(\d\d)T")
"""Acquisition date in product names until 2016, which begin with the date of processing."""
TILE = re.compile(r"(?:^|[_.])(T\d\d[A-Z]{3})(?=_|\.|$)")
COG_TILE = re.compile(r"^S2[A-D]_(\d\d[A-Z]{3})_\d{8}_\d+_L\w\w$")
"""Folder of bands in sentinel-cogs of the Registry of Open Data on AWS (Element 84): S2B_52SFA_20220126_0_L2A."""
COLLECTION_1 = re.compile(r"^S2[A-D]_T\d\d[A-Z]{3}_\d{8}T\d{6}_L\w\w$", re.IGNORECASE)
"""Folder of bands in sentinel-2-c1-l2a of Element 84: all of baseline 05.00 or later, with the offset."""
OFFSETS_SINCE = "2022-01-25"
"""Date of the first Sentinel-2 images with an offset (baseline 04.00)."""


def name_of(scene: Path) -> str:
    """Return the name of a scene, of which its chips have theirs: that of its bands, if its folder's has no date."""
    other = other_scene(scene)
    if other is not None:
        return other.scene
    if scene.is_file() or scene.suffix.upper() == ".SAFE":
        return scene.stem
    return scene.name if dates_in(scene.name) else _bands_name(scene) or scene.name


def tile_of(scene: Path) -> str:
    """Return the tile in the name of a scene or of its bands; the scene's name without one."""
    other, name = other_scene(scene), name_of(scene)
    if other is not None:
        return other.tile
    if cog := COG_TILE.match(name.upper()):
        return f"T{cog[1]}"
    found = next(filter(None, (TILE.search(one.upper()) for one in (name, _bands_name(scene)))), None)
    return found[1] if found else name


def date_of(scene: Path) -> str:
    """Return the first date in the name of a scene, otherwise of its bands, as YYYY-MM-DD; empty without any."""
    other, name = other_scene(scene), name_of(scene)
    if other is not None:
        return other.date
    if found := SENSED.search(product_of(scene).name):
        return "-".join(found.groups())
    return next(iter([*dates_in(name), *dates_in(_bands_name(scene))]), "") or hls_date(name)


def dates_in(name: str) -> list[str]:
    """Return the dates in a name in their order, as YYYY-MM-DD; days that no month has are none."""
    found = []
    for match in DATE.finditer(name):
        with suppress(ValueError):
            found.append(datetime.date(*map(int, match.groups())).isoformat())
    return found


def lacks_metadata(scene: Path) -> bool:
    """Return whether a scene is of Sentinel-2's bands without metadata, which would state an offset."""
    return is_band_scene(scene) and other_scene(scene) is None and not has_metadata(scene)


def lacks_offset(scene: Path) -> bool:
    """Return whether values may have an offset that no metadata states: since it was introduced, or undated."""
    if not lacks_metadata(scene):
        return False
    date = date_of(scene)
    return not date or date >= OFFSETS_SINCE or COLLECTION_1.match(scene.name) is not None


def _bands_name(scene: Path) -> str:
    """Return the scene that the names of its bands tell; empty for a raster file, and if they tell none."""
    if not is_band_scene(scene):
        return ""
    return next((scene_of(file.name) for _, _, file in band_files(scene)), "")
