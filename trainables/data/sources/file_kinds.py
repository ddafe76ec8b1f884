"""File format detection by magic bytes, so that errors name unsupported formats."""

from trainables.data.sources.reading import NotReadError

CONVERT = "convert it to PNG or TIFF"
BEGINNINGS = {
    b"8BPS": "Photoshop",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"%PDF": "PDF",
    b"\x89HDF": "HDF5",
    b"CDF": "NetCDF",
    b"\x93NUMPY": "NumPy",
    b"SIMPLE  =": "FITS",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"DDS ": "DDS",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"P1": "Netpbm",
    b"P2": "Netpbm",
    b"P3": "Netpbm",
    b"P4": "Netpbm",
    b"P5": "Netpbm",
    b"P6": "Netpbm",
    b"P7": "Netpbm",
    b"\x00\x00\x01\x00": "icon",
    b"RIFF": "RIFF",
    b"<svg": "SVG",
    b"<?xml": "XML",
}
BOXED = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
"""Formats in ISO's base media file format, by brand."""
ANNEXED = (b"/annex/objects/", b".git/annex/objects/")
POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_kind(content: bytes) -> None:
    """Raise NotReadError if the content is no image or has an unsupported format; damaged images pass."""
    if not content:
        raise NotReadError("the file is empty; fetch it again, or remove it")
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(POINTER):
        raise NotReadError("a git-LFS pointer, not the image: fetch the files with git lfs pull")
    if start[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise NotReadError("an HTML page, not an image; fetch the file again")
    if start.startswith(ANNEXED):
        raise NotReadError("a git-annex pointer, not the image: fetch the files with git annex get")
    if start.startswith(b"<?xml") and b"<Error>" in start:
        raise NotReadError("a server's error message, not an image; fetch the file again")
    kind = BOXED.get(content[8:12]) if content[4:8] == b"ftyp" else None
    kind = kind or next((name for beginning, name in BEGINNINGS.items() if start.startswith(beginning)), None)
    if kind is not None:
        raise NotReadError(f"{kind} is not supported; {CONVERT}")
    _refuse_jpeg(content)


def _refuse_jpeg(content: bytes) -> None:
    """Raise NotReadError for JPEG variants that Pillow doesn't support."""
    frame = jpeg_frame(content)
    if frame is None:
        return
    process, bits, _, _ = frame
    if process in (3, 5, 6, 7, 11, 13, 14, 15):
        raise NotReadError(f"lossless or hierarchical JPEG is not supported; {CONVERT}")
    if bits != 8:
        raise NotReadError(f"JPEG of {bits} bits is not supported; {CONVERT} of 16 bits")


def jpeg_frame(content: bytes) -> tuple[int, int, int, int] | None:
    """Return coding process, bits, height and width from a JPEG's frame header; None if there is none."""
    at = 2
    if content[:2] != b"\xff\xd8":
        return None
    while at + 9 < len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(content[at + k : at + k + 2], "big") for k in (5, 7))
            return marker - 0xC0, content[at + 4], height, width
        if marker == 0xDA:
            return None
        alone = marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8
        at += 1 if marker == 0xFF else 2 if alone else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
