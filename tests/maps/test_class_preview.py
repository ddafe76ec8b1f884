"""Picture of a map of classes: colours that mean one class each, and room for the legend."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sweep.maps.class_preview import ClassPreview
from sweep.maps.preview import figure


def preview_of(classes: int, shape: tuple[int, int]) -> ClassPreview:
    names = tuple(f"class {number}" for number in range(classes))
    shares = {name: {"share": 1 / classes, "pixels": 100 - place} for place, name in enumerate(names)}
    mapped = np.ones(shape, bool)
    mapped[0] = False
    return ClassPreview(
        scene=np.zeros((*shape, 3), np.uint8),
        valid=np.ones(shape, bool),
        mapped=mapped,
        metres=10.0,
        facts={
            "valid": {"square_kilometres": 264.0},
            "classes": shares,
            "crs": None,
            "scene": "a.tif",
            "model": {"trial": "a"},
        },
        probability=np.ones(shape),
        classes=np.zeros(shape, np.uint8),
        names=names,
        positive="",
        threshold=None,
    )


@pytest.mark.parametrize("shape", [(44, 64), (60, 60), (64, 20)])
@pytest.mark.parametrize("classes", [2, 10, 14])
def test_title_legend_and_source_are_apart(classes: int, shape: tuple[int, int]) -> None:
    drawn = figure(preview_of(classes, shape))
    FigureCanvasAgg(drawn).draw()
    legend = drawn.axes[1].get_legend()
    assert legend is not None
    assert drawn._suptitle is not None
    assert drawn._supxlabel is not None
    parts = [drawn._suptitle, *(axes.title for axes in drawn.axes), legend, drawn._supxlabel]
    boxes = [part.get_window_extent() for part in parts]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_each_colour_of_the_legend_is_of_one_entry_and_classes_beyond_are_together() -> None:
    legend = figure(preview_of(14, (40, 60))).axes[1].get_legend()
    assert legend is not None
    colours = [patch.get_facecolor() for patch in legend.get_patches()]
    assert len(set(colours)) == len(colours) == 12
    assert [text.get_text() for text in legend.get_texts()][-3:] == [
        "class 9 7.1 %",
        "4 more classes 28.6 %",
        "no data",
    ]


@pytest.mark.parametrize("positive", ["", "class 0"])
def test_what_the_scene_classification_leaves_out_has_its_own_grey_and_is_not_called_no_data(positive: str) -> None:
    preview, column = preview_of(2, (40, 60)), np.tile(np.arange(60), (40, 1))
    preview = replace(
        preview,
        positive=positive,
        threshold=0.5 if positive else None,
        facts={
            **preview.facts,
            "valid": {"square_kilometres": None},
            "scl": {"cloud": 0.1, "shadow": 0.0, "snow": 0.0, "nodata": 0.0},
        },
        mapped=column >= 20,
        valid=(column < 10) | (column >= 19),  # the pixels of column 19 are an edge of the data, and no cloud
    )
    legend = figure(preview).axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-2:] == ["no data", "cloud, shadow or snow"]
    assert len({patch.get_facecolor() for patch in legend.get_patches()[-2:]}) == 2
    assert (preview.left_out == (column < 10)).all()
    clear = replace(preview, facts={**preview.facts, "scl": {"cloud": 0.0, "shadow": 0.0, "snow": 0.0, "nodata": 0.1}})
    legend = figure(clear).axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-1] == "no data"


def test_long_names_of_classes_have_a_line_each_and_leave_the_map_its_width() -> None:
    preview = preview_of(2, (40, 60))
    names = ("x" * 40, "y" * 40)
    shares = dict(zip(names, preview.facts["classes"].values(), strict=True))
    drawn = figure(replace(preview, names=names, facts={**preview.facts, "classes": shares}))
    FigureCanvasAgg(drawn).draw()
    right = drawn.axes[1]
    legend = right.get_legend()
    assert legend is not None
    assert legend._ncols == 1  # type: ignore[attr-defined]
    assert right.get_window_extent().width > 0.4 * drawn.bbox.width
    assert legend.get_window_extent().x1 <= drawn.bbox.x1
