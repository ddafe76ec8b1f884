"""Decoding of photos and drawings (JPEG, PNG, WebP, GIF, BMP, AVIF): upright, without alpha, at full bit depth."""

import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.sources.reading import DecodedImage, NotReadError, upright
from trainables.files.unpacked_limit import SMALL, check_unpacked

Result = TypeVar("Result")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""Pillow's names of the formats; a build of Pillow may lack some."""
MOST_BYTES = 2**30
"""Maximum size of an unpacked image; larger ones are refused before decoding (trainables/files/unpacked_limit.py)."""
MOST_SCANS = 500
"""Maximum number of scans of a JPEG, each of which is decoded; progressive JPEGs have about 10."""
FEW_PIXELS = SMALL // 16
"""Number of pixels up to which an image is small with any number of bands and bits, so that no check is needed."""
SCAN_BYTES = 10
"""Minimum size of a scan's header, so that few bytes can't hold many scans."""
JPEG_MAGIC = b"\xff\xd8"
SCAN = b"\xff\xda"
"""Marker at the start of a JPEG's scan; these two bytes don't occur within a scan."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
SEQUENCES = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose further frames are other images; further frames of a camera's JPEG are previews."""
ORIENTED = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Keys of Pillow's `info` that can contain an orientation."""
ORIENTATION = 274
COLOURS = {
    "1": "black and white, repeated into red, green and blue",
    "L": "grey, repeated into red, green and blue",
    "LA": "grey, repeated into red, green and blue",
    "P": "colours of its palette",
    "PA": "colours of its palette",
    "RGB": "red, green and blue",
    "RGBA": "red, green and blue",
    "RGBX": "red, green and blue",
    "YCbCr": "red, green and blue",
    "CMYK": "CMYK made red, green and blue without its colour profile",
}


def with_pil(
    content: bytes,
    check: Callable[[int, int], None],
    formats: tuple[str, ...],
    pixels: Callable[[Image.Image], Result],
) -> Result:
    """Open an image within limits and return a function's result for it.

    Args:
        content: Bytes of the file.
        check: Function called with width and height before decoding; raises if the image is too large.
        formats: Accepted formats, a part of FORMATS.
        pixels: Function of the opened image, whose result is returned.
    """
    if len(content) > MOST_SCANS * SCAN_BYTES and content[:2] == JPEG_MAGIC and content.count(SCAN) > MOST_SCANS:
        raise ValueError(f"more than {MOST_SCANS} scans")
    with Image.open(io.BytesIO(content), formats=formats) as image:
        check(image.width, image.height)  # known before a pixel is decoded
        if image.width * image.height > FEW_PIXELS:
            check_unpacked(image.width * image.height * _pixel_bytes(image, content), len(content), MOST_BYTES)
        return pixels(image)


def read_picture(content: bytes) -> DecodedImage:
    """Return an image as (H, W, 3) of 8 bits; a 16-bit PNG keeps its 16 bits, and grey is one channel."""

    def decoded(image: Image.Image) -> DecodedImage:
        _refuse_sequence(image)
        if _is_deep_png(content):
            return _deep_png(image, content)
        if image.mode.startswith("I;16"):
            pixels, kind = one_band(image)[..., None], f"{image.format} of 16 bits: grey, one channel"
        elif image.mode in COLOURS:
            kind = f"{image.format} of 8 bits: {COLOURS[image.mode]}"
            pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        else:
            raise NotReadError(f"{image.format} of Pillow's mode {image.mode} is not supported; convert it to PNG")
        return _finished(image, pixels, kind, opacity=image.mode.endswith("A"))

    _refuse_deep_avif(content)
    return with_pil(content, lambda width, height: None, FORMATS, decoded)


def rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the upright pixels (H, W, 3), uint8, of an opened image."""
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    turned = orientation(image)
    return pixels if turned == 1 else upright(pixels, turned).astype(np.uint8, copy=False)


def one_band(image: Image.Image) -> NDArray[np.uint16]:
    """Return the values (H, W), uint16, of an opened image; ValueError unless it has one band of 16 bits."""
    if not image.mode.startswith("I;16"):
        raise ValueError(f"expected one band of 16 bits, found PIL mode {image.mode}")
    return np.asarray(image).astype(np.uint16, copy=False)


def orientation(image: Image.Image) -> int:
    """Return the orientation (1 to 8) of a decoded image from EXIF or XMP; 1 if neither has one."""
    if not any(name in image.info for name in ORIENTED):
        return 1
    found = image.getexif().get(ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _finished(image: Image.Image, pixels: NDArray[np.generic], kind: str, *, opacity: bool) -> DecodedImage:
    facts = [kind]
    if opacity or "transparency" in image.info:
        facts.append("opacity left out")
    if _has_other_colours(image):
        facts.append("a colour profile other than sRGB is not applied")
    turned = orientation(image)
    if turned != 1:
        facts.append("turned upright, as the orientation in the file says")
        pixels = upright(pixels, turned)
    return DecodedImage(pixels, tuple(facts))


def _has_other_colours(image: Image.Image) -> bool:
    """Whether an image has a colour profile that isn't named sRGB; grey has no colours."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode in ("1", "L", "LA", "CMYK") or image.mode.startswith("I;16"):
        return False
    return b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile


def _refuse_sequence(image: Image.Image) -> None:
    if image.format in SEQUENCES and (frames := getattr(image, "n_frames", 1)) > 1:
        raise NotReadError(f"{image.format} of {frames} frames is not supported; save the one that counts as PNG")


def _is_deep_png(content: bytes) -> bool:
    """Whether a PNG has 16 bits and several channels, of which Pillow drops the lower eight bits."""
    return content.startswith(PNG_MAGIC) and content[24:25] == b"\x10" and content[25:26] != b"\x00"


def _deep_png(image: Image.Image, content: bytes) -> DecodedImage:
    import imagecodecs

    values = imagecodecs.png_decode(content)
    grey = content[25] == 4
    kind = "PNG of 16 bits: " + ("grey, one channel" if grey else "red, green and blue")
    if b"eXIf" in content or b"exif" in content:
        image.load()  # such a chunk may lie behind the pixels
    return _finished(image, values[..., : 1 if grey else 3], kind, opacity=content[25] in (4, 6))


def _refuse_deep_avif(content: bytes) -> None:
    """Raise for an AVIF of more than 8 bits, whose lower bits Pillow would drop without a warning."""
    at = content.find(b"av1C", 0, 2**16) if content[4:8] == b"ftyp" else -1
    if at >= 0 and content[at + 6] & 0x40:
        raise NotReadError("AVIF of 10 or 12 bits is not supported; convert it to a PNG or TIFF of 16 bits")


def _pixel_bytes(image: Image.Image, content: bytes) -> int:
    """Return the bytes per pixel in memory: at least three, since most images become RGB."""
    wide = 4 if image.mode[0] in "IF" else 2 if _is_deep_png(content) else 1
    return max(3, len(image.getbands())) * wide
