"""Check that a scene's values have the scale of the data set that a model was trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweep.maps.band_files import other_scene
from sweep.maps.map_plan import MapOptions
from sweep.maps.scene_names import OFFSETS_SINCE, date_of, lacks_offset
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.pixels import BRIGHTEST
from trainables.errors import BadInputError


def check_values(source: Path, recipe: PixelRecipe, options: MapOptions, bands: Sequence[Mapping[str, Any]]) -> None:
    """Raise BadInputError for values of another scale than the model's, or with an offset that nothing states.

    Args:
        source: Scene.
        recipe: Rule by which the pixels of the model's data set were made.
        options: User's options.
        bands: Bands of the model's data set, as model.json describes them.
    """
    if options.offset is None and date_of(source) and lacks_offset(source):
        raise BadInputError(
            f"{source}: values of Sentinel-2 have an offset of 1000 since {OFFSETS_SINCE}, unless it was removed, and "
            "nothing here tells; add --offset -1000, or 0 if it was removed"
        )
    other, learned = other_scene(source), _learned_scale(recipe, bands)
    if other is None or learned is None or options.scale is not None:  # the user's scale replaces the rule
        return
    if not np.allclose(learned, other.product.scale, rtol=1e-6, atol=1e-9):
        raise BadInputError(
            f"{source}: its reflectance is {_told(*other.product.scale)}, and that of the model's data set "
            f"{_told(*learned)}; give a scene of the same products"
        )


def _learned_scale(recipe: PixelRecipe, bands: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Return scale and offset of the data set's values, before they became pixels; None if they are unknown."""
    if recipe.reflectance is not None:
        scale, offset = recipe.reflectance
        return 1.0 / scale, offset / scale
    ranges = ((0.0, BRIGHTEST),) if recipe.rule == "thesis" else recipe.ranges
    for band, (low, high) in zip(bands, ranges, strict=False):
        if "scale" in band and high > low:
            scale = band["scale"] * 255 / (high - low)
            return scale, band.get("offset", 0.0) - scale * low
    return None


def _told(scale: float, offset: float) -> str:
    return f"{scale:.6g} * value" + (f" {offset:+.6g}" if abs(offset) > 1e-9 else "")
