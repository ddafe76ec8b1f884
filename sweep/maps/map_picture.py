"""Preview of a map, by the kind of its layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.class_preview import ClassPreview
from sweep.maps.map_classes import NODATA
from sweep.maps.map_layer import MapLayer
from sweep.maps.map_numbers import MapNumbers
from sweep.maps.number_preview import NumberPreview
from sweep.maps.preview import MapPreview
from sweep.maps.windows import Mask, Values


def map_picture(
    layer: MapLayer,
    *,
    scene: NDArray[np.generic],
    valid: Mask,
    bands: Values,
    metres: float | None,
    facts: Mapping[str, Any],
) -> MapPreview:
    """Return the preview of a reduced map beside its scene.

    Args:
        layer: Layer of the map.
        scene: Scene values (H, W, 3).
        valid: Valid pixels (H, W).
        bands: Bands of the map (B, H, W).
        metres: Ground width of a preview pixel in metres; None if unknown.
        facts: Content of the map's JSON file.
    """
    if isinstance(layer, MapNumbers):
        return NumberPreview(
            scene=scene,
            valid=valid,
            mapped=~np.isnan(bands[0]),
            metres=metres,
            facts=facts,
            numbers=bands[0],
            name=layer.name,
            learned=layer.learned,
        )
    return ClassPreview(
        scene=scene,
        valid=valid,
        mapped=bands[0] != NODATA,
        metres=metres,
        facts=facts,
        probability=bands[0],
        classes=bands[1].astype(np.uint8),
        names=layer.names,
        positive=layer.positive,
        threshold=layer.threshold,
    )
