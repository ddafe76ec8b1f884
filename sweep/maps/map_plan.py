"""Plan of a map: windows, pixel conversion, mask and layer, decided before the first window is read."""

from dataclasses import dataclass, replace
from pathlib import Path

from sweep.deployment.exported_model import DeployedModel
from sweep.maps.cover_mask import CoverMask
from sweep.maps.ground_resolution import GroundResolution, ground
from sweep.maps.map_classes import map_classes
from sweep.maps.map_layer import MapLayer
from sweep.maps.map_numbers import map_numbers
from sweep.maps.scene import Scene
from sweep.maps.scene_names import lacks_offset
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.pixels import PixelConversion
from trainables.errors import BadInputError

OVERLAP = 0.5
COARSEST = 2.0
"""Maximum ratio of the scene's pixel size to the model's; larger pixels don't show what the model has learnt."""
ALIKE = 0.02
"""Relative difference up to which two pixel sizes count as equal."""
AGAIN = "export it again (python -m sweep.export)"


@dataclass(frozen=True)
class MapOptions:
    """User's options of a map; None: the model's or the scene's own value."""

    overlap: float | None = None
    """Share of a window that the next window overlaps."""
    threshold: float | None = None
    positive: tuple[str, ...] = ()
    scale: float | None = None
    """Value that becomes 255 in the conversion from 16 to 8 bits."""
    offset: int | None = None
    """Offset added to every value of the scene."""
    nodata: float | None = None
    probabilities: bool = False
    """Whether the map has a band with each class's probability."""
    no_scl: bool = False
    """Whether to map cloud, shadow and snow too, instead of excluding them by the SCL."""


@dataclass(frozen=True)
class MapSettings:
    """Settings of a map, decided before the first window is read."""

    model: DeployedModel
    scene: Scene
    layer: MapLayer
    ground: GroundResolution
    conversion: PixelConversion
    side: int
    """Side of a window in the scene's pixels."""
    overlap: float
    notes: tuple[str, ...]
    mask: CoverMask | None = None
    """None without SCL, or if all covers are mapped."""


def recipe_of(model: DeployedModel, options: MapOptions) -> PixelRecipe:
    """Return the rule by which the model's pixels were made; BadInputError if neither model nor options tell it."""
    fields = model.facts.get("input")
    if fields is not None:
        return PixelRecipe.read(fields)
    if options.scale is None:
        raise BadInputError(
            f"{model.folder}/model.json: doesn't say how its pixels were made of a satellite's values; {AGAIN}, or say "
            "with --scale VALUE which value becomes 255"
        )
    return PixelRecipe()


def plan_map(
    model: DeployedModel, scene: Scene, recipe: PixelRecipe, options: MapOptions, mask: CoverMask | None
) -> MapSettings:
    """Return windows and conversion of a map; BadInputError if the model can't be applied to the scene."""
    height, width = model.facts["image_size"]
    if height != width:
        raise BadInputError(f"{model.folder}: takes images of {width} x {height} px; a map needs square ones")
    size = ground(scene.crs, scene.transform, scene.height, scene.width)
    try:
        conversion = recipe.conversion(
            height,
            found=scene.dtype,
            wanted=str(model.facts["dtype"]),
            brightest=options.scale,
            moved=scene.offset_stated,
            measured=scene.measured,
        )
    except BadInputError as error:
        raise BadInputError(f"{scene.location}: {error}") from error
    side, notes = _side(height, size, recipe.metres)
    notes += _pixel_notes(scene, recipe, options)
    if mask is None and not options.no_scl:
        notes.append("the scene has no scene classification (SCL): cloud, shadow and snow are mapped as they are")
    return MapSettings(
        model=model,
        scene=scene,
        layer=_layer(model, options),
        ground=size,
        conversion=conversion,
        side=side,
        overlap=OVERLAP if options.overlap is None else options.overlap,
        notes=tuple(notes),
        mask=mask,
    )


def _pixel_notes(scene: Scene, recipe: PixelRecipe, options: MapOptions) -> list[str]:
    """Return notes on what is taken for granted of a scene's pixels and bands."""
    notes = []
    if scene.dtype == "uint8" and recipe.rule in ("thesis", "percentiles"):
        notes.append(f"8-bit pixels are taken as if made by the data set's rule ({recipe.rule})")
    if options.nodata is None and recipe.nodata is not None and scene.channels[0].nodata == recipe.nodata:
        notes.append(f"pixels of {recipe.nodata:g} are nodata, as in the model's data set")
    if not scene.offset_stated and lacks_offset(Path(scene.location)) and not (recipe.reflectance or (1.0, 0.0))[1]:
        notes.append(
            "neither metadata nor a date tells whether Sentinel-2's offset was added to the values: none is removed "
            "(--offset -1000 removes it, --offset 0 says that there is none)"
        )
    if not scene.described:
        names = ", ".join(scene.names)
        notes.append(f"the file doesn't describe its bands: they are taken to be {names} in this order")
    return notes


def _layer(model: DeployedModel, options: MapOptions) -> MapLayer:
    """Return the layer of a map; BadInputError for options that the model's outputs don't support."""
    if model.number is not None:
        of_classes = {name: getattr(options, name) for name in ("positive", "threshold", "probabilities")}
        return map_numbers(model.number, model.number_title, of_classes)
    classes = map_classes(model.facts, options.positive, options.threshold)
    return replace(classes, each=tuple(map(str, model.facts["classes"])) if options.probabilities else ())


def _side(image_size: int, size: GroundResolution, metres: float | None) -> tuple[int, list[str]]:
    """Return a window's side in the scene's pixels, and notes for the user.

    A window covers the same ground as a training image; with another pixel size it is resized.
    """
    own = size.side
    if own is None:
        return image_size, ["the scene has no coordinates: pixels are taken to be as large as the model's; no areas"]
    notes = [] if size.is_square else [_not_square(size)]
    if metres is None:
        return image_size, [*notes, f"the model's pixel size is unknown; the scene's pixels have {own:.3g} m"]
    ratio = own / metres
    if ratio > COARSEST:
        raise BadInputError(
            f"the scene's pixels have {own:.3g} m, too coarse for the model's {metres:.3g} m; give a finer scene"
        )
    if abs(ratio - 1.0) <= ALIKE:
        return image_size, notes
    side = round(image_size / ratio)
    what = f"pixels have {own:.3g} m, the model's {metres:.3g}: windows of {side} px are resized to {image_size}"
    return side, [*notes, what]


def _not_square(size: GroundResolution) -> str:
    assert size.metres is not None
    across, down = size.metres
    return f"pixels are {across:.3g} x {down:.3g} m, the model's are square: better warp the scene to UTM"
