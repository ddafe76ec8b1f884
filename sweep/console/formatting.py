"""Formatting of numbers and names as text, the same in terminal, pages and figures."""

import math
import re

from trainables.metrics.names import R2, SPEARMAN, is_share

LARGE = 10.0
"""R2 from which decimals say nothing: it has no lower bound."""
GIB = 2**30


def percent(share: float, digits: int = 2) -> str:
    """Return a share in percent, by default with two decimals as in the thesis."""
    return "undefined" if math.isnan(share) else f"{100 * share:.{digits}f}"


def short_percent(share: float) -> str:
    """Return a share in percent for a narrow column: 98.6, and 100 without a decimal."""
    return "100" if share == 1.0 else percent(share, 1)


def points(difference: float, digits: int = 1) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.{digits}f}"


def number(metric: str, value: float | None) -> str:
    """Return a metric's value for a table, shares in percent; empty if there is none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    return percent(value) if is_share(metric) else plain(metric, value)


def plain(metric: str, value: float, *, signed: bool = False) -> str:
    """Return a value of a metric that is no share: three decimals for R2 and correlations, else four digits.

    Zeros at the end are kept, so that the numbers of a column have the same digits; whole numbers have none.
    """
    sign = "+" if signed else ""
    if metric.endswith((R2, SPEARMAN)) and abs(value) < LARGE:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.4g}" if float(value).is_integer() else f"{value:{sign}#.4g}".rstrip(".")


def half_width(metric: str, value: float, width: float) -> str:
    """Return half an interval's width with as many decimals as the value has in a table: 0.0010 beside 0.2011."""
    decimals = len(number(metric, value).partition(".")[2])
    return percent(width) if is_share(metric) else f"{width:.{decimals}f}"


def signed_number(metric: str, difference: float) -> str:
    """Return a difference between two values of a metric with its sign, shares in percentage points."""
    return points(difference, 2) if is_share(metric) else plain(metric, difference, signed=True)


def interval(metric: str, ends: tuple[float, float] | None) -> str:
    """Return an interval for a table, shares in percent; empty if there is none."""
    if ends is None:
        return ""
    low, high = (percent(end, 1) if is_share(metric) else plain(metric, end) for end in ends)
    return f"{low} to {high}" if "-" in (low[0], high[0]) else f"{low}–{high}"  # noqa: RUF001


def signed_interval(metric: str, ends: tuple[float, float] | None) -> str:
    """Return an interval of a difference, shares in percentage points: +3.1 to +9.8; empty if there is none."""
    if ends is None:
        return ""
    return " to ".join(points(end) if is_share(metric) else plain(metric, end, signed=True) for end in ends)


def range_of_shares(ends: tuple[float, float]) -> str:
    """Return an interval of shares in percent for a sentence: 81.0 to 88.4."""
    return " to ".join(percent(end, 1) for end in ends)


def count_and_share(part: int, whole: int) -> str:
    """Return a count with its share of the whole: 120 (12.0%)."""
    return f"{part:,} ({part / max(whole, 1):.1%})"


def duration(seconds: float) -> str:
    """Return a readable duration: 2.3 s, 17 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def time_unit(hours: float) -> tuple[str, float]:
    """Return the unit for an axis of hours, and the number of units per hour."""
    if hours < 0.05:
        return "seconds", 3600.0
    return ("minutes", 60.0) if hours < 2 else ("hours", 1.0)


def gib(count: float) -> str:
    """Return bytes in GiB, with one decimal, or two below 0.1."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / GIB:.2f} GiB"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 worker, 2 workers."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters; a cut text ends with three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def axis_label(name: str) -> str:
    """Return the name of a field or metric in words: batch size for batch_size."""
    return name.replace("_", " ")


def slug(text: str) -> str:
    """Return a text as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-")
