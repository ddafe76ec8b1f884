"""Map of a scene by an exported model, in memory that doesn't grow with the scene.

MAP.tif    Cloud Optimized GeoTIFF with the scene's CRS and transform, float32 or float64
           classes: band 1: probability; band 2: class; band 3 and later, optional: probability of each class;
           nodata is 255
           number: one band; nodata is NaN
MAP.json   areas and shares, threshold, or mean, deviation and ends of the number; model and scene
MAP.png    preview of scene and map
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.console.app import progress
from sweep.console.output_files import check_outputs
from sweep.deployment.exported_model import BATCH, DeployedModel
from sweep.maps.cover_mask import enter_cover_mask
from sweep.maps.geotiff import MapWriter, map_writer, read_small, write_cog
from sweep.maps.map_checks import check_values
from sweep.maps.map_layer import MapSummary
from sweep.maps.map_plan import MapOptions, MapSettings, plan_map, recipe_of
from sweep.maps.open_scene import open_scene
from sweep.maps.raster_file import require_rasterio
from sweep.maps.reduced_scene import ReducedScene
from sweep.maps.scene import colours
from sweep.maps.windows import BlendedWindows, Mask, Values, fill, starts, steps
from trainables.errors import BadInputError

SUFFIXES = (".tif", ".tiff")
PREVIEW_PIXELS = 700
"""Longer side of each preview panel, in pixels."""


def write_map(
    model: Path, source: Path, output: Path, options: MapOptions | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Write MAP.tif, MAP.json and MAP.png of a scene, all or none; needs rasterio.

    Args:
        model: Folder of the exported model.
        source: Product, folder of bands, or raster file.
        output: Path of MAP.tif.
        options: User's options; None: defaults.
        overwrite: Whether existing files are replaced.

    Returns:
        Content of the JSON file.

    Raises:
        BadInputError: An unreadable input, an unwritable output, or a scene that doesn't fit the model.
    """
    require_rasterio("maps")
    chosen = options or MapOptions()
    opened = DeployedModel.open(model)
    recipe = recipe_of(opened, chosen)
    _check_output(output, source, overwrite=overwrite)
    check_values(source, recipe, chosen, opened.facts.get("bands", ()))
    channels = int(opened.facts["channels"])
    bands = recipe.channel_bands(channels)
    with (
        open_scene(
            source, bands, channels, offset=chosen.offset, nodata=chosen.nodata, unstated=recipe.nodata
        ) as scene,
        ExitStack() as stack,
    ):
        mask = None if chosen.no_scl else enter_cover_mask(stack, source, scene)
        job = plan_map(opened, scene, recipe, chosen, mask)
        with _aside(output) as (tif, png, text):
            plain = tif.with_name("plain")
            picture = ReducedScene(scene.height, scene.width, colours(scene), PREVIEW_PIXELS)
            described = _write(job, plain, picture).described()
            if not described["valid"]["pixels"]:
                why = (
                    "all are nodata"
                    if mask is None
                    else "all are nodata, cloud, shadow or snow; or map these (--no-scl)"
                )
                raise BadInputError(f"{source}: has no valid pixels; {why}")
            facts = _facts(job, described)
            text.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            _draw(job, facts, plain, picture, png)
            write_cog(plain, tif)
    return facts


def _check_output(output: Path, source: Path, *, overwrite: bool) -> None:
    if not output.parent.is_dir():
        raise BadInputError(f"--output {output}: no such folder: {output.parent}")
    for path in (output, *_beside(output)):
        if path.is_dir() or path.resolve() == source.resolve():
            raise BadInputError(f"--output {output}: {path} is {'a folder' if path.is_dir() else 'the scene'}")
    text = output.with_suffix(".json")
    check_outputs(
        (output, *_beside(output)),
        overwrite=overwrite,
        is_own=lambda: {"scene", "model", "window_pixels"} <= json.loads(text.read_text(encoding="utf-8")).keys(),
    )


def _beside(output: Path) -> tuple[Path, Path]:
    return output.with_suffix(".png"), output.with_suffix(".json")


@contextmanager
def _aside(output: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Yield temporary paths of map, preview and JSON; rename all at the end, or delete all after an exception."""
    finals = (output, *_beside(output))
    try:
        with tempfile.TemporaryDirectory(prefix=".map-", suffix=".partial", dir=output.parent) as folder:
            partials = [Path(folder) / path.name for path in finals]
            yield partials[0], partials[1], partials[2]
            for partial, final in reversed([*zip(partials, finals, strict=True)]):  # the map last: then all are there
                partial.replace(final)
    except OSError as error:
        raise BadInputError(f"--output {output}: can't be written ({error.strerror or error})") from error


def _write(job: MapSettings, path: Path, picture: ReducedScene) -> MapSummary:
    """Write the GeoTIFF one row of windows at a time, add all rows to the picture, and return the values' summary."""
    scene = job.scene
    tops = starts(scene.height, job.side, job.overlap)
    lefts = starts(scene.width, job.side, job.overlap)
    blend = BlendedWindows(job.side, scene.width, job.layer.channels, job.layer.dtype)
    summary = job.layer.summary(job.ground)
    with (
        progress("windows", len(tops) * len(lefts)) as advance,
        map_writer(path, scene, job.layer, _tags(job)) as writer,
    ):
        for (values, valid), (_, rows) in zip(_strips(job, tops, picture), steps(tops, job.side), strict=True):
            _add(job, blend, values, valid, lefts, advance)
            _release(job, blend.release(rows), valid[:rows], writer, summary)
    return summary


def _strips(job: MapSettings, tops: list[int], picture: ReducedScene) -> Iterator[tuple[NDArray[np.generic], Mask]]:
    """Yield values and valid pixels of each row of windows; each row of the scene is read once."""
    values, valid = _rows(job, tops[0], job.side, picture)
    yield values, valid
    for top, rows in [*steps(tops, job.side)][:-1]:
        more, more_valid = _rows(job, top + job.side, rows, picture)
        values = np.concatenate([values[rows:], more])
        valid = np.concatenate([valid[rows:], more_valid])
        yield values, valid


def _rows(job: MapSettings, top: int, rows: int, picture: ReducedScene) -> tuple[NDArray[np.generic], Mask]:
    """Return values and mapped pixels of some rows, and add them to the picture, clouds included."""
    values, valid = job.scene.rows(top, rows)
    picture.add(values, valid)
    return values, valid if job.mask is None else valid & job.mask.clear(top, rows)


def _add(
    job: MapSettings,
    blend: BlendedWindows,
    values: NDArray[np.generic],
    valid: Mask,
    lefts: list[int],
    advance: Callable[[int], None],
) -> None:
    """Predict a row of windows and add the results to the blend; windows without data are skipped."""
    for start in range(0, len(lefts), BATCH):
        part = lefts[start : start + BATCH]
        shares = {left: float(valid[:, left : left + job.side].mean()) for left in part}
        seen = [left for left in part if shares[left] > 0.0]
        if seen:
            scores = job.layer.scores(job.model(np.stack([_image(job, values, valid, left) for left in seen]))[0])
            for left, own in zip(seen, scores, strict=True):
                blend.add(left, own, shares[left])
        advance(len(part))


def _image(job: MapSettings, values: NDArray[np.generic], valid: Mask, left: int) -> NDArray[np.generic]:
    """Return a window as the model's input."""
    columns = slice(left, left + job.side)
    return job.conversion(fill(values[:, columns], valid[:, columns]))


def _release(job: MapSettings, means: Values, valid: Mask, writer: MapWriter, summary: MapSummary) -> None:
    bands = job.layer.bands(means)
    writer.add(bands, valid)
    summary.add(bands, valid)


def _tags(job: MapSettings) -> dict[str, str]:
    facts = job.model.facts
    return {"model": str(facts["trial"]), "data_set": str(facts["data_set"]), **job.layer.tags}


def _facts(job: MapSettings, described: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the JSON file."""
    scene, model = job.scene, job.model.facts
    metres = job.ground.metres
    return {
        "scene": scene.location,
        "crs": None if scene.crs is None else scene.crs.to_string(),
        "size": [scene.width, scene.height],
        "pixel_metres": None if metres is None else list(metres),
        **job.layer.facts,
        **described,
        "window_pixels": job.side,
        "overlap": job.overlap,
        "scl": None if job.mask is None else job.mask.shares(scene),
        "model": {name: model.get(name) for name in ("trial", "trial_id", "sweep", "data_set", "licence")},
        "notes": [*job.notes, *job.layer.notes(described)],
    }


def _draw(job: MapSettings, facts: dict[str, Any], tif: Path, scene: ReducedScene, png: Path) -> None:
    from sweep.maps.map_picture import map_picture
    from sweep.maps.preview import draw

    metres = job.ground.metres
    drawn = None if metres is None else metres[0] * job.scene.width / scene.valid.shape[1]
    bands = read_small(tif, PREVIEW_PIXELS)
    picture = map_picture(job.layer, scene=scene.means, valid=scene.valid, bands=bands, metres=drawn, facts=facts)
    draw(picture, png)
