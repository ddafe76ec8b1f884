"""SVG of a figure for inlining in a page: small, in the page's colours, with a text alternative."""

import base64
import html
import io
import re

from PIL import Image

from sweep.figures.style import GRID, INK
from trainables.printing.printable_text import printable

QUALITY = 88
"""JPEG quality of photos."""


def inline_svg(svg: str, name: str, *, alternative: str) -> str:
    """Return matplotlib's SVG for inlining: small, in the page's colours, with ids unique on the page.

    Args:
        svg: SVG of a figure.
        name: Prefix of its ids.
        alternative: Text alternative.
    """
    own = svg[svg.index("<svg") :]
    # An image's id is derived from its content, and may occur twice among neighbours; nothing refers to it.
    own = re.sub(r'(<image [^>]*?) id="image[0-9a-f]+"', r"\1", own)
    own = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", own)
    own = own.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    own = re.sub(r"fill: ?#000000|fill=\"#000000\"", "fill: currentColor", own)
    own = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", _smaller_image, _smaller(own))
    return own.replace("<svg ", f'<svg role="img" aria-label="{html.escape(printable(alternative))}" ', 1)


def _smaller(svg: str) -> str:
    """Return an SVG without comments, metadata, unused ids and insignificant digits."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    named = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in named else "", svg)
    svg = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"\s+", " ", _rounded(path[0])), svg)
    svg = re.sub(r'(?<= points=")[^"]+|(?<= transform=")[^"]+|(?<= [xy]=")[^"]+', lambda text: _rounded(text[0]), svg)
    svg = re.sub(r"(?:'[A-Za-z ]+', )+sans-serif", "sans-serif", svg)
    return re.sub(r">\s+<", "><", svg)


def _rounded(numbers: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", numbers)


def _smaller_image(found: re.Match[str]) -> str:
    """Return a picture as JPEG if that is smaller, which is usual for photos."""
    content = base64.b64decode(found[1])
    with Image.open(io.BytesIO(content)) as image:
        if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
            return found[0]
        smaller = io.BytesIO()
        image.convert("RGB").save(smaller, "JPEG", quality=QUALITY)
    if smaller.tell() >= len(content):
        return found[0]
    return f"data:image/jpeg;base64,{base64.b64encode(smaller.getvalue()).decode()}"
