"""Names in any script: a PNG has fonts with their signs, or their codes; the terminal gets one line."""

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from sweep.figures import fonts
from sweep.figures.fonts import drawn_by_browser, fit_for_png

NAME = "水田 (paddy)"


@pytest.fixture(autouse=True)
def _nothing_said_or_remembered() -> Iterator[None]:
    before = list(fontManager.ttflist)
    fonts._families.cache_clear()
    fonts._said.clear()
    yield
    fontManager.ttflist[:] = before
    fonts._families.cache_clear()


def labelled() -> Figure:
    """Return a figure with a name on an axis, in a title and in a legend."""
    figure = Figure(figsize=(3, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label=NAME)
    axes.set_yticks([0, 1], [NAME, "café"])
    axes.set_title(NAME)
    axes.legend()
    return figure


def png(figure: Figure) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(content, format="png")
    return content.getvalue()


def install_font(folder: Path, signs: str) -> None:
    """Give matplotlib a font in which each sign is a black square."""
    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 700), (700, 700), (700, 0)):
        (pen.moveTo if place == (0, 0) else pen.lineTo)(place)
    pen.closePath()
    names = [".notdef", *(f"sign{number}" for number in range(len(signs)))]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(sign): name for sign, name in zip(signs, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(folder / "squares.ttf")
    fontManager.addfont(folder / "squares.ttf")


def test_a_sign_that_no_font_has_is_drawn_as_its_code_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        figure = labelled()
        fit_for_png(figure)
        png(figure)
    axes = figure.axes[0]
    assert axes.get_title() == r"\u6c34\u7530 (paddy)"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [r"\u6c34\u7530 (paddy)", "café"]
    assert axes.get_legend().get_texts()[0].get_text() == r"\u6c34\u7530 (paddy)"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no installed font has 水 田: PNG figures show such signs by their codes" in caplog.text


def test_many_codes_are_cut_in_the_middle_so_that_names_stay_apart() -> None:
    lacking = frozenset("".join(map(chr, range(0x6C34, 0x6C44))))
    text = "".join(sorted(lacking)) + " (a)"
    shown = fonts._coded(text, lacking)
    assert shown == r"\u6c34\u6c35\u6c36\u6c37...\u6c40\u6c41\u6c42\u6c43 (a)"
    assert fonts._coded(text[:8], lacking).count(r"\u") == 8


def test_an_installed_font_that_has_the_signs_draws_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    without = labelled()
    fit_for_png(without)
    install_font(tmp_path, "水田")
    fonts._families.cache_clear()
    caplog.clear()
    figure = labelled()
    fit_for_png(figure)
    assert figure.axes[0].get_title() == NAME
    assert "Squares Sans" in figure.axes[0].title.get_fontfamily()
    assert png(figure) != png(without)
    assert not caplog.records


def test_an_svg_keeps_the_names_for_the_browser_and_warns_of_nothing() -> None:
    content = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mpl.rc_context({"svg.fonttype": "none"}), drawn_by_browser():
            labelled().savefig(content, format="svg")
    assert content.getvalue().count(NAME) == 3


def test_usual_names_keep_their_fonts() -> None:
    figure = labelled()
    figure.axes[0].set_yticks([0, 1], ["Ähre ≥ 5", "Поле"])
    figure.axes[0].set_title("")
    figure.axes[0].get_legend().remove()
    before = figure.axes[0].get_yticklabels()[0].get_fontfamily()
    fit_for_png(figure)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["Ähre ≥ 5", "Поле"]
    assert figure.axes[0].get_yticklabels()[0].get_fontfamily() == before
