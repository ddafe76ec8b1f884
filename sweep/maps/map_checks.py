"""Check that a scene's values have the scale of the data set that a model was trained on."""

from pathlib import Path

import numpy as np

from sweep.maps.band_files import other_scene
from sweep.maps.map_plan import MapOptions
from sweep.maps.scene_names import OFFSETS_SINCE, date_of, lacks_offset
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.errors import BadInputError


def check_values(source: Path, recipe: PixelRecipe, options: MapOptions) -> None:
    """Raise BadInputError for values of another scale than the model's, or with an offset that nothing states."""
    if options.offset is None and date_of(source) and lacks_offset(source):
        raise BadInputError(
            f"{source}: values of Sentinel-2 have an offset of 1000 since {OFFSETS_SINCE}, unless it was removed, and "
            "nothing here tells; add --offset -1000, or 0 if it was removed"
        )
    other = other_scene(source)
    if other is None or recipe.reflectance is None:
        return
    scale, offset = other.product.scale
    if not np.allclose(recipe.reflectance, (1.0 / scale, offset / scale), rtol=1e-6):
        raise BadInputError(
            f"{source}: has values of {scale:g} * value {offset:+g}, and the model's data set was prepared with "
            "--reflectance {:.9g},{:.9g}; give a scene of the same products".format(*recipe.reflectance)
        )
