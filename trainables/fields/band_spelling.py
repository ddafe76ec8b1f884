"""Spelling of band names."""

import re


def band_name(text: str) -> str:
    """Return the normalised band name: B4 becomes B04, B8a becomes B8A."""
    if re.fullmatch(r"[Bb]\d", text):
        return f"B0{text[1]}"
    return text.upper() if re.fullmatch(r"[Bb](\d\d|8[Aa])", text) else text
