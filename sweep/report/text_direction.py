"""Direction of texts on a page: names in Arabic, Hebrew and alike scripts don't reorder the text around them."""

import re

RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
"""Blocks of scripts that are written from right to left."""
RUN = re.compile(rf"[{RIGHT_TO_LEFT}](?:[{RIGHT_TO_LEFT}\s'-]*[{RIGHT_TO_LEFT}])?")
ISOLATE, END = "\u2068", "\u2069"


def isolated(page: str) -> str:
    """Return a page whose right-to-left names are isolated: `NAME, 93 %` keeps its number at the end."""
    return RUN.sub(lambda found: f"{ISOLATE}{found[0]}{END}", page)
