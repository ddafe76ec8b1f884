"""Contact sheet of a data store: images of each class as in evaluation, and augmented views of one image or place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from sweep.console.output_files import check_outputs
from sweep.figures.chip_map import draw_chip_map
from sweep.figures.fonts import fit_for_png
from sweep.figures.image_views import Pictures, StorePictures
from sweep.figures.style import label
from trainables.config import TrialConfig
from trainables.data.seasons import SeasonPairs, visits
from trainables.data.store import ImageStore
from trainables.data.store_targets import without_seasons
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments
from trainables.randomness.counter_based import RandomStream, uniform

IMAGES_A_CLASS = 8
MOST_CLASSES = 50
VIEWS = 8
LONGEST_LABEL = 32
GAP = 2
"""Space between two images, in pixels."""
CELL_INCHES = 0.75
WHITE = 1.0
MADE_BY = "sweep.data show"
"""Mark in the PNG by which the command recognises its own files."""


def draw(name: str, path: Path, settings: list[str], root: Path | None, *, overwrite: bool = False) -> list[Path]:
    """Write the contact sheet of a store as a PNG; return the written files.

    A store of scenes also gets NAME-map.png, the map of its chips.

    Args:
        name: Name of the store.
        path: Path of the PNG.
        settings: Fields of TrialConfig.
        root: Folder of the prepared data sets.
        overwrite: Whether existing files of other programs are replaced.

    Raises:
        BadInputError: The store doesn't exist, a setting is unknown, no place has two dates for pairs of seasons, or a
            file can't be written.
    """
    store = ImageStore.open(name, root)
    files = [path, *([path.with_name(f"{path.stem}-map.png")] if store.chips([]) is not None else [])]
    check_outputs(files, overwrite=overwrite, is_own=lambda: _is_sheet(path))
    config = _config(name, store, settings)
    if config.pairs == "season" and not (seasons := SeasonPairs.of(store, store.split("train"))).paired.any():
        raise without_seasons(name, seasons.counts)
    figure = contact_sheet(store, config)
    try:
        FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": MADE_BY})
    except OSError as error:
        raise BadInputError(f"--output {path}: can't be written ({error.strerror or error})") from error
    return [path, *(file for file in files[1:] if draw_chip_map(store, file))]


def contact_sheet(store: ImageStore, config: TrialConfig) -> Figure:
    """Return a figure of each class's train images as in evaluation, and of pairs of augmented views.

    Args:
        store: Store of the images.
        config: Configuration that determines the image size, the augmentation and, with pairs of seasons, that the
            views are of one place at two dates.
    """
    classes = [index for index, count in enumerate(_train_counts(store)) if count][:MOST_CLASSES]
    rows = [_rows_of(store, index) for index in classes] or [_first(store, store.split("train"))]
    labels = [store.info.class_names[index] for index in classes] or ["no label"]
    sheet = StorePictures(store, config, np.concatenate(rows))
    seen = [sheet.seen(own) for own in rows]
    figure = _figure(sheet, labels, seen, _pairs(sheet, _most_contrast(rows, seen)))
    fit_for_png(figure)
    return figure


def _is_sheet(path: Path) -> bool:
    with Image.open(path, formats=["PNG"]) as image:
        return image.info.get("Software") == MADE_BY


def _config(name: str, store: ImageStore, settings: list[str]) -> TrialConfig:
    values = {field: choices[0] for field, choices in parse_assignments(settings).items()}
    size = {"image_size": max(4, min(store.info.image_size))}
    return TrialConfig.parse({"dataset": name, **size, "seed": 0, **values})


def _train_counts(store: ImageStore) -> tuple[int, ...]:
    return store.info.class_counts["train"]


def _rows_of(store: ImageStore, index: int) -> NDArray[np.int64]:
    train = store.split("train")
    return _first(store, train[store.label_matrix(train)[:, index].numpy()])


def _first(store: ImageStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the images with the smallest stable hash, so that all sheets show the same ones."""
    order = np.argsort(store.stable_fractions(rows, "subset"), kind="stable")
    chosen: NDArray[np.int64] = rows[order[:IMAGES_A_CLASS]]
    return chosen


def _most_contrast(rows: list[NDArray[np.int64]], seen: list[Pictures]) -> int:
    """Return the shown image of the largest deviation: views of water or cloud would all look the same."""
    deviations = np.concatenate([pictures.std(axis=(1, 2, 3)) for pictures in seen])
    return int(np.concatenate(rows)[np.argmax(deviations)])


def _pairs(sheet: StorePictures, shown: int) -> NDArray[np.int64]:
    """Return the rows (2, VIEWS) of first and second views: of the `shown` image, or of an image and its partners."""
    store, config, train = sheet.store, sheet.config, sheet.store.split("train")
    seasons = SeasonPairs.of(store, train) if config.pairs == "season" else None
    if seasons is None or not seasons.paired.any():
        return np.full((2, VIEWS), shown)
    own = _first(store, train[seasons.paired])
    anchor = _most_contrast([own], [sheet.seen(own)])
    anchors = np.full(VIEWS, np.flatnonzero(train == anchor)[0])
    draws = uniform(config.seed, RandomStream.SEASON, 0, (VIEWS,))
    return np.asarray(train[np.stack([anchors, seasons.partners(anchors, draws)])])


def _dates(store: ImageStore, rows: NDArray[np.int64]) -> list[str]:
    """Return the dates of images; empty for an image without a known one."""
    return ["" if visit is None else visit[1] for visit in visits(store.names(rows), store.chips(rows))]


def _strip(pictures: Pictures, columns: int) -> NDArray[np.float64]:
    """Return pictures side by side, (H, columns * (W + GAP), 3); missing ones are white."""
    count, height, width, _ = pictures.shape
    strip = np.full((height + GAP, columns * (width + GAP), 3), WHITE)
    for number in range(count):
        strip[:height, number * (width + GAP) : number * (width + GAP) + width] = pictures[number]
    return strip


def _figure(sheet: StorePictures, labels: list[str], seen: list[Pictures], pairs: NDArray[np.int64]) -> Figure:
    store, views, rows = sheet.store, sheet.views(pairs), len(labels)
    figure = Figure(figsize=(IMAGES_A_CLASS * CELL_INCHES + 4.0, (rows + 4) * CELL_INCHES + 0.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(rows + 0.5, 3))
    upper, lower = parts
    info = store.info
    hidden = len(info.class_names) - rows if any(_train_counts(store)) else 0
    more = f", {hidden} classes without one or not shown" if hidden else ""
    upper.suptitle(f"{label(info.name)}: train images as evaluated, {sheet.config.image_size} px{more}", fontsize=10)
    _mount(upper.subplots(), [_strip(pictures, IMAGES_A_CLASS) for pictures in seen], labels)
    lower.suptitle(f"{label(str(store.names(pairs[0, :1])[0]))}: {VIEWS} pairs of augmented views", fontsize=10)
    sides, dates = ["view a", "view b"], []
    if (pairs[0] != pairs[1]).any():  # of two dates
        sides, dates = [f"view a, {_dates(store, pairs[0])[0]}", "view b, dates below"], _dates(store, pairs[1])
    _mount(lower.subplots(), [_strip(part, VIEWS) for part in (views[:VIEWS], views[VIEWS:])], sides, dates)
    return figure


def _mount(axes: Axes, strips: list[NDArray[np.float64]], labels: list[str], captions: Sequence[str] = ()) -> None:
    axes.imshow(np.concatenate(strips), interpolation="nearest")
    height = strips[0].shape[0]
    axes.set_yticks(
        [height * (number + 0.5) for number in range(len(strips))],
        [label(name, LONGEST_LABEL) for name in labels],
    )
    axes.tick_params(left=False, bottom=False, labelsize=8)
    width = strips[0].shape[1] / max(len(captions), 1)
    axes.set_xticks([width * (number + 0.5) for number in range(len(captions))], captions, fontsize=7)
    axes.spines[:].set_visible(False)
