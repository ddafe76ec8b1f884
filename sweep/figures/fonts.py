"""Fonts for the texts of a PNG: installed ones with the needed characters, codes for characters without a font.

An SVG keeps its texts, which the browser draws with its own fonts.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from trainables.printing.printable_text import sign_code

logger = logging.getLogger(__name__)
BOXES = "Last Resort"
"""Name of a font that draws every character as a box."""
HEAVIEST = 500
"""Weight of the heaviest font that doesn't count as bold."""
MOST_NAMED = 10
MOST_CODES = 4
"""Maximum number of codes at each end of a text."""
_said: set[str] = set()


@contextmanager
def drawn_by_browser() -> Iterator[None]:
    """Silence matplotlib's warnings on missing characters while an SVG is written; the browser has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def fit_for_png(figure: Figure) -> None:
    """Give a figure's texts fonts with their characters; characters without an installed font become codes.

    Such characters are reported once in a warning. Write the figure's SVG first, since its texts may change here.
    """
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = {axis: [label.get_text() for label in axis.get_ticklabels()] for axis in axes}
    written = "".join(text.get_text() for text in figure.findobj(Text)) + "".join(map("".join, ticks.values()))
    if written.isascii():
        return
    families, lacking = _families(frozenset(sign for sign in written if sign > "~"))
    for axis, labels in ticks.items():
        if lacking.intersection("".join(labels)):
            axis.set_ticks(axis.get_ticklocs(), labels=[_coded(label, lacking) for label in labels])
    for text in figure.findobj(Text):
        text.set_text(_coded(text.get_text(), lacking))
        text.set_fontfamily([*text.get_fontfamily(), *families])
    _say(lacking)


@cache
def _families(signs: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the fewest installed fonts for characters that the default font lacks, and characters without a font."""
    lacking = signs - _covered(findfont(FontProperties()), signs)
    families: list[str] = []
    entries = sorted((one for one in fontManager.ttflist if _is_plain(one)), key=_preference) if lacking else []
    while lacking:
        best = max(entries, key=lambda entry: len(_covered(entry.fname, lacking)), default=None)
        found = frozenset() if best is None else _covered(best.fname, lacking)
        if best is None or not found:
            break
        families.append(best.name)
        lacking -= found
    return tuple(families), lacking


def _is_plain(entry: FontEntry) -> bool:
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style == "normal" and weight <= HEAVIEST and not entry.name.startswith(BOXES)


def _preference(entry: FontEntry) -> tuple[bool, bool, str]:
    """Sort key of fonts that cover equally many characters: a plain sans serif comes first."""
    return "Sans" not in entry.name, "Mono" in entry.name, entry.name


@cache
def _covered(path: str, signs: frozenset[str]) -> frozenset[str]:
    """Return the characters that a font file covers; empty if it can't be read."""
    try:
        font = get_font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(sign for sign in signs if font.get_char_index(ord(sign)))


def _coded(text: str, lacking: frozenset[str]) -> str:
    """Return a text with codes for characters without a font; of many the first and last ones, for the width."""
    places = [place for place, sign in enumerate(text) if sign in lacking]
    hidden = set(places[MOST_CODES:-MOST_CODES])
    codes = [
        "..." * (place - 1 not in hidden) if place in hidden else sign_code(sign) if sign in lacking else sign
        for place, sign in enumerate(text)
    ]
    return "".join(codes)


def _say(lacking: frozenset[str]) -> None:
    new = sorted(lacking - _said)
    if new:
        _said.update(new)
        shown = " ".join(new[:MOST_NAMED]) + (f" and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else "")
        logger.warning(
            "no installed font has %s: PNG figures show such signs by their codes (%s); install a font that has them, "
            "as Noto Sans CJK",
            shown,
            sign_code(new[0]),
        )
