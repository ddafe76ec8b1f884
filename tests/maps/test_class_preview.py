"""Picture of a map of classes: colours that mean one class each, and room for the legend."""

import itertools

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
