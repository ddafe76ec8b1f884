"""Formatting of numbers and names as text, the same in terminal, pages and figures."""

import math
import re

from trainables.metric_names import is_share

GIB = 2**30


def percent(share: float, digits: int = 2) -> str:
    """Return a share in percent, with two decimals as the thesis prints them."""
    return "undefined" if math.isnan(share) else f"{100 * share:.{digits}f}"


def short_percent(share: float) -> str:
    """Return a share in percent for a narrow place: 98.6, and 100 without a decimal."""
    return "100" if share == 1.0 else percent(share, 1)


def points(difference: float, digits: int = 1) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.{digits}f}"


def number(metric: str, value: float | None) -> str:
    """Return a metric's value for a table, a share in percent; nothing where there is none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    return percent(value) if is_share(metric) else f"{value:.4g}"


def signed_number(metric: str, difference: float) -> str:
    """Return a difference of two values of a metric, a share's in points, with its sign."""
    return points(difference, 2) if is_share(metric) else f"{difference:+.4g}"


def interval(metric: str, ends: tuple[float, float] | None) -> str:
    """Return an interval for a table, of a share in percent; nothing where there is none."""
    if ends is None:
        return ""
    low, high = (percent(end, 1) if is_share(metric) else f"{end:.4g}" for end in ends)
    return f"{low}–{high}"  # noqa: RUF001


def range_of_shares(ends: tuple[float, float]) -> str:
    """Return an interval of shares for a sentence: 81.0 to 88.4."""
    return " to ".join(percent(end, 1) for end in ends)


def count_and_share(part: int, whole: int) -> str:
    """Return a count with its share of the whole: 120 (12.0%)."""
    return f"{part:,} ({part / max(whole, 1):.1%})"


def duration(seconds: float) -> str:
    """Return a duration that reads: 2.3 s, 17 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def time_unit(hours: float) -> tuple[str, float]:
    """Return the unit that hours are read in on an axis, and how many of it are an hour."""
    if hours < 0.05:
        return "seconds", 3600.0
    return ("minutes", 60.0) if hours < 2 else ("hours", 1.0)


def gib(count: float) -> str:
    """Return bytes in GiB, with one decimal, or two below a tenth."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / GIB:.2f} GiB"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 worker, 2 workers."""
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with three dots for what is cut off."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def axis_label(name: str) -> str:
    """Return the name of a field or metric in words: batch size for batch_size."""
    return name.replace("_", " ")


def slug(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-")
