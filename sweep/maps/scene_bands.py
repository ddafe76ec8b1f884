"""Bands to read of a folder's scenes, and the check that the scenes are of one sensor."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sweep.maps.band_files import BAND_ORDER, band_files, other_scene, product_of
from sweep.maps.channel_names import opaque_channels
from sweep.maps.scene_checks import agreed_bands
from sweep.maps.scene_files import is_band_scene
from trainables.data.bands import COLOURS, SPECTRAL
from trainables.data.class_names import RGB_BANDS, SENTINEL_2_BANDS
from trainables.data.sources.source import PrepareRequest, some_names
from trainables.errors import BadInputError

LEVELS = {"MSIL1C": "Sentinel-2 level 1C", "MSIL2A": "Sentinel-2 level 2A"}
"""Kinds of Sentinel-2 products by a part of their names; outside products the level is unknown."""


def chosen_bands(request: PrepareRequest, scenes: Sequence[Path]) -> tuple[str, ...]:
    """Return the bands to read; empty: all bands of the GeoTIFFs.

    Raises:
        BadInputError: Scenes of several sensors or levels, or a band of `all` that one of them lacks.
    """
    asked = request.options.bands
    of_bands = [path for path in scenes if is_band_scene(path)]
    if not of_bands:
        return _of_files(scenes) if asked == SENTINEL_2_BANDS else asked or agreed_bands(scenes)
    _refuse_several_kinds(request.required_source(), of_bands)
    if asked and asked != SENTINEL_2_BANDS:
        return asked
    have = {path: _bands_of(path) for path in of_bands}
    if any(own & set(SPECTRAL) for own in have.values()):
        have = {path: _in_common(path, own) for path, own in have.items()}
    found = set().union(*have.values())
    if not asked:
        return COLOURS if found <= set(SPECTRAL) else RGB_BANDS
    for path, own in have.items():
        if found - own:
            raise BadInputError(
                f"{path}: has no file of {_listed(found - own)}, which other scenes have; fetch it again, or name the "
                f"bands that all have: --bands {','.join(_ordered(set.intersection(*have.values())))}"
            )
    return _ordered(found)


def _bands_of(scene: Path) -> set[str]:
    """Return the bands of a scene; BadInputError if its mask of clouds alone is there."""
    found = {band for band, _, _ in band_files(scene)}
    if not found:
        raise BadInputError(f"{scene}: has a mask of clouds, but no band; fetch its bands, or remove it")
    return found


def _of_files(files: Sequence[Path]) -> tuple[str, ...]:
    """Return all bands of raster files, Sentinel-2's in its order; 13 bands without names are taken to be these."""
    names = agreed_bands(files)
    if names:
        return _ordered(set(names)) if set(names) <= set(BAND_ORDER) else names
    return SENTINEL_2_BANDS if len(opaque_channels(files[0])) == len(SENTINEL_2_BANDS) else ()


def _in_common(scene: Path, bands: set[str]) -> set[str]:
    """Return the names that a scene's bands share with Landsat's; its own if it shares none."""
    other = other_scene(scene)
    common = {} if other is None else other.product.common
    return {name for name, band in common.items() if band in bands} if common else bands


def _ordered(bands: set[str]) -> tuple[str, ...]:
    return tuple(band for band in BAND_ORDER if band in bands)


def _listed(bands: set[str]) -> str:
    return ", ".join(_ordered(bands))


def _refuse_several_kinds(source: Path, scenes: Sequence[Path]) -> None:
    """Raise BadInputError if equal values of the scenes aren't equal reflectances, or not of the same kind."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for path in scenes:
        kinds[_kind(path)].append(path.name)
    known = {kind: names for kind, names in kinds.items() if kind}
    sensors = {kind.partition(" ")[0] for kind in kinds if kind} | ({"Sentinel-2"} if "" in kinds else set())
    if len(known) > 1 or len(sensors) > 1:
        told = ", ".join(f"{kind or 'Sentinel-2'}: {len(own):,} ({some_names(own)})" for kind, own in kinds.items())
        raise BadInputError(
            f"{source}: has scenes of several kinds, whose values differ: {told}; put each kind into a folder of its "
            "own, and prepare them apart"
        )


def _kind(scene: Path) -> str:
    """Return the kind of a scene; empty for Sentinel-2's bands of an unknown level."""
    other = other_scene(scene)
    if other is not None:
        return other.product.family
    name = product_of(scene).name.upper()
    return next((kind for part, kind in LEVELS.items() if part in name), "")
