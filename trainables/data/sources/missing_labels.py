"""Texts that programs write for a missing label, such as pandas' NaN and a spreadsheet's #N/A."""

TEXTS = frozenset(("nan", "-nan", "<na>", "n/a", "#n/a", "#na", "null", "nat"))


def is_missing(label: str) -> bool:
    """Return whether a label's text is one that programs write where there is none."""
    return label.strip().lower() in TEXTS
