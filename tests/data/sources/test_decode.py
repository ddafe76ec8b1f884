"""What is read of an image file, and how: axes, pages, bits, orientation, colours; what isn't read is named."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from support.stores import made

from trainables.data.preparing.prepare import prepare
from trainables.data.sources.decode import UndecodableError, decode_any, decode_image, decode_rgb
from trainables.data.sources.reading import DecodedImage, ReadingOptions
from trainables.data.sources.source import ArchiveFile
from trainables.errors import BadInputError

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(5)
DEEP = RANDOM.integers(0, 2**16, (24, 20, 4), dtype=np.uint16)
FLAT = RANDOM.integers(0, 2**8, (24, 20, 4), dtype=np.uint8)


def read(content: bytes, **reading: Any) -> DecodedImage:
    return decode_image(ArchiveFile("photo", content), ReadingOptions(**reading))


def refused(content: bytes, words: str, option: str = "", **reading: Any) -> None:
    with pytest.raises(UndecodableError, match=words) as caught:
        read(content, **reading)
    assert option in caught.value.option
    assert "\n" not in str(caught.value)
    assert "fetch the file again" not in str(caught.value)
    assert "--" not in str(caught.value)  # options are for preparing alone


def tiff(*pages: Array, **more: Any) -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content, **{key: more.pop(key) for key in ("imagej", "ome") if key in more}) as writer:
        for page in pages:
            writer.write(page, **{"photometric": "minisblack", **more})
    return content.getvalue()


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **more)
    return content.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(values: Array, *chunks: bytes) -> bytes:
    """A PNG of 16 bits, as Pillow can't write it."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BANDS = RANDOM.integers(0, 2**16, (64, 48, 13), dtype=np.uint16)
FIRST = np.moveaxis(BANDS, -1, 0)


@pytest.mark.parametrize(
    "content",
    [
        tiff(BANDS),  # page by page, the writer doesn't say which axis is which
        tiff(FIRST),
        tiff(BANDS, planarconfig="contig"),
        tiff(FIRST, planarconfig="separate"),
        tiff(BANDS, metadata={"axes": "YXC"}),
        tiff(FIRST, metadata={"axes": "CYX"}),
        tiff(FIRST, metadata=None),
        tiff(*FIRST),
        tiff(*FIRST, metadata=None),
        tiff(FIRST, ome=True, metadata={"axes": "CYX"}),
        tiff(FIRST, imagej=True, metadata={"axes": "CYX"}),
    ],
)
def test_bands_are_last_however_they_are_written(content: bytes) -> None:
    decoded = read(content)
    np.testing.assert_array_equal(decoded.image, BANDS)
    assert decoded.facts[0].startswith("TIFF of 16 bits, 13 channels")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(np.zeros((64, 64, 14), np.uint16)), r"\(64, 64, 14\) has more than 13 bands"),
        (tiff(np.zeros((64, 64, 64), np.uint16)), r"\(64, 64, 64\) has more than 13 bands"),
        (tiff(np.zeros((64, 48, 20), np.uint8), planarconfig="contig"), "has 20 bands, the limit is 13"),
        (tiff(*[np.zeros((8, 9), np.uint8)] * 14), "14 pages of 9 x 8 are more than 13 bands"),
        (tiff(np.zeros((9, 9, 9), np.uint16)), r"can be 9 or 9 bands; write it with its axes"),
        (tiff(np.zeros((4, 64, 64), np.uint16), imagej=True, metadata={"axes": "ZYX"}), "a stack of depths"),
        (tiff(np.zeros((4, 64, 64), np.uint16), imagej=True, metadata={"axes": "TYX"}), "a stack of times"),
        (tiff(np.zeros((4, 64, 64), np.uint16), ome=True, metadata={"axes": "ZYX"}), "a stack of 4 depths"),
        (tiff(np.zeros((2, 3, 64, 64), np.uint16)), r"shape \(2, 3, 64, 64\)"),
    ],
)
def test_what_no_axis_is_known_of_is_refused_with_its_shape(content: bytes, words: str) -> None:
    refused(content, words)


def test_small_images_keep_the_reading_they_had() -> None:
    values = RANDOM.integers(0, 2**16, (4, 8, 8), dtype=np.uint16)
    np.testing.assert_array_equal(read(tiff(values)).image, np.moveaxis(values, 0, -1))
    np.testing.assert_array_equal(read(tiff(np.moveaxis(values, 0, -1))).image, np.moveaxis(values, 0, -1))


def test_pages_of_several_sizes_are_bands_where_a_rule_is_stated() -> None:
    pages = [RANDOM.integers(0, 2**16, (side, side), dtype=np.uint16) for side in (10, 60, 30, 60)]
    for more in ({}, {"metadata": None}):
        content = tiff(*pages, **more)
        refused(content, "4 pages of 10 x 10, 60 x 60, 30 x 30 are bands of different sizes", "--resample nearest")
        image = read(content, resample="nearest").image
        assert image.shape == (60, 60, 4)
        np.testing.assert_array_equal(image[..., 1], pages[1])
        np.testing.assert_array_equal(image[..., 0], np.kron(pages[0], np.ones((6, 6), np.uint16)))
        assert read(content, resample="bicubic").image.shape == (60, 60, 4)
    refused(tiff(np.zeros((10, 20), np.uint8), np.zeros((10, 10), np.uint8)), "different sizes")
    refused(tiff(np.zeros((10, 20), np.uint8), np.zeros((10, 10), np.uint8)), "same ground", resample="nearest")


def test_overviews_and_masks_are_no_bands() -> None:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as writer:
        writer.write(BANDS[..., 0], photometric="minisblack", metadata=None)
        writer.write(BANDS[::2, ::2, 0], photometric="minisblack", subfiletype=1, metadata=None)
        writer.write(BANDS[::4, ::4, 0], photometric="minisblack", subfiletype=1, metadata=None)
        writer.write(np.zeros((64, 48), bool), photometric="mask", subfiletype=4, metadata=None)
    np.testing.assert_array_equal(read(content.getvalue()).image, BANDS[..., :1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_keeps_them(channels: int) -> None:
    decoded = read(deep_png(DEEP[..., :channels]))
    np.testing.assert_array_equal(decoded.image, DEEP[..., : 1 if channels < 3 else 3])
    assert decoded.facts[0].startswith("PNG of 16 bits")
    assert ("opacity left out" in decoded.facts) == (channels in (2, 4))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(orientation: int) -> None:
    picture = Image.fromarray(FLAT[..., :3])
    with Image.open(io.BytesIO(saved(picture, "PNG", exif=turned(orientation)))) as opened:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(opened))
    contents = [saved(picture, kind, exif=turned(orientation), lossless=True) for kind in ("PNG", "WEBP")]
    contents.append(tiff(FLAT[..., :3], photometric="rgb", extratags=[(274, "H", 1, orientation, True)]))
    for content in contents:
        np.testing.assert_array_equal(read(content).image, expected)
    exif = turned(orientation).tobytes().removeprefix(b"Exif\0\0")
    deep = read(deep_png(DEEP[..., :3], chunk(b"eXIf", exif)))
    assert deep.image.shape[:2] == expected.shape[:2]
    assert any("upright" in fact for fact in deep.facts) == (orientation != 1)
    jpeg = saved(picture, "JPEG", exif=turned(orientation))
    assert read(jpeg).image.shape == expected.shape
    np.testing.assert_array_equal(read(jpeg).image, decode_rgb(ArchiveFile("photo", jpeg)))


@pytest.mark.parametrize("compression", ["lzw", "zstd", "zlib", "lzma", "packbits"])
@pytest.mark.parametrize("predictor", [False, True])
def test_packed_tiffs_are_read(compression: str, predictor: bool) -> None:
    if predictor and compression in ("packbits",):
        pytest.skip("has no predictor")
    content = tiff(DEEP[..., :3], photometric="rgb", compression=compression, predictor=predictor)
    np.testing.assert_array_equal(read(content).image, DEEP[..., :3])


def test_a_jpeg_in_a_tiff_is_red_green_and_blue_within_what_the_tiff_declares() -> None:
    smooth = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (24, 20, 3))
    content = tiff(smooth, photometric="rgb", compression="jpeg")
    assert np.abs(read(content).image.astype(int) - smooth).max() < 8
    at = content.index(b"\xff\xc0")
    large = content[: at + 5] + struct.pack(">HH", 60000, 60000) + content[at + 9 :]
    with pytest.raises(BadInputError, match="a JPEG of 60000 x 60000 pixels in a part of"):
        read(large)


def with_palette() -> tuple[bytes, Array]:
    colours = RANDOM.integers(0, 256, (3, 256), dtype=np.uint16)
    content = tiff(FLAT[..., 0], photometric="palette", colormap=colours * 257)
    return content, np.moveaxis(colours[:, FLAT[..., 0]], 0, -1)


def test_colours_of_a_tiff_are_what_they_mean() -> None:
    content, colours = with_palette()
    np.testing.assert_array_equal(read(content).image, colours)
    np.testing.assert_array_equal(read(tiff(FLAT[..., 0], photometric="miniswhite")).image, 255 - FLAT[..., :1])
    np.testing.assert_array_equal(read(tiff(DEEP[..., 0], photometric="miniswhite")).image, 65535 - DEEP[..., :1])
    cmyk = read(tiff(FLAT, photometric="separated"))
    np.testing.assert_array_equal(cmyk.image, np.asarray(Image.fromarray(FLAT, "CMYK").convert("RGB")))
    bits = FLAT[..., 0] > 127
    np.testing.assert_array_equal(read(tiff(bits)).image[..., 0], bits * 255)
    refused(tiff(FLAT[..., :3], photometric="cielab"), "colours CIELAB is not supported")
    refused(tiff(FLAT[..., :3], photometric="rgb", compression="webp"), "compression WEBP .* is none")
    near_infrared = read(tiff(FLAT, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(near_infrared.image, FLAT)
    assert any("opacity is kept as a channel" in fact for fact in near_infrared.facts)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16", "int8", "int32", "uint32"])
def test_values_without_a_scale_of_their_own_need_one(dtype: str) -> None:
    values = np.array([[0, 25], [50, 100]], dtype)
    content = tiff(values, extratags=[(42113, "s", 0, "100", True)])
    refused(content, rf"{dtype} values from 0 to 50, nodata 100, need a scale", "--value-range LOW,HIGH")
    decoded = read(content, value_range=(0, 50))
    np.testing.assert_array_equal(decoded.image[..., 0], [[0, 32768], [65535, 0]])
    assert f"{dtype} values: 0 to 50 became 0 to 65535" in decoded.facts
    assert "pixels without data became 0" in decoded.facts


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", "65535"), ("int8", "255"), ("int32", "4294967295")])
def test_a_nodata_value_that_the_type_lacks_marks_no_pixel(dtype: str, nodata: str) -> None:
    content = tiff(np.array([[-1, 0], [1, -1]], dtype), extratags=[(42113, "s", 0, nodata, True)])
    decoded = read(content, value_range=(-2, 0))
    np.testing.assert_array_equal(decoded.image[..., 0], [[32768, 65535], [65535, 32768]])


def test_numbers_that_are_none_are_no_data_and_a_range_is_for_what_has_none() -> None:
    decoded = read(tiff(np.array([[np.nan, 1.0], [-np.inf, 9.0]], np.float32)), value_range=(0.0, 1.0))
    np.testing.assert_array_equal(decoded.image[..., 0], [[0, 65535], [0, 65535]])
    assert "values beyond that range were cut off" in decoded.facts
    refused(tiff(DEEP[..., 0]), "uint16 has its own range", value_range=(0.0, 1.0))


def test_a_stated_scale_and_a_nodata_value_that_is_none_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    items = '<Item name="S" sample="0" role="scale">0.0001</Item><Item name="O" sample="0" role="offset">-0.1</Item>'
    stated = [(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)]
    said = read(tiff(DEEP[..., 0], extratags=stated)).facts
    assert "not applied: scale 0.0001 and offset -0.1, which the file states" in said
    refused(tiff(FLAT[..., 0].astype(np.int16), extratags=stated), "the file states scale 0.0001 and offset -0.1")
    odd = read(tiff(DEEP[..., 0], extratags=[(42113, "s", 0, "none", True), (274, "H", 1, 9, True)])).facts
    assert "the nodata value 'none' isn't a number, and isn't used" in odd
    assert capsys.readouterr().err == ""


def test_pages_of_colours_are_no_bands_and_a_range_is_for_tiffs() -> None:
    refused(tiff(FLAT[..., :3], 255 - FLAT[..., :3], photometric="rgb"), "2 pages of red, green and blue are several")
    refused(saved(Image.new("RGB", (8, 8)), "PNG"), "no TIFF, and a range of 0,1 is stated", value_range=(0, 1))


def frames(kind: str) -> bytes:
    one = Image.fromarray(FLAT[..., :3])
    return saved(one, kind, save_all=True, append_images=[Image.fromarray(255 - FLAT[..., :3])])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF", "AVIF", "JPEG"])
def test_pictures_are_red_green_and_blue(kind: str) -> None:
    colour = Image.new("RGB", (20, 24), (200, 100, 50))
    decoded = read(saved(colour, kind))
    assert decoded.image.shape == (24, 20, 3)
    assert np.abs(decoded.image.astype(int) - (200, 100, 50)).max() < 6
    assert decoded.facts[0].startswith(f"{kind} of 8 bits")


def test_palettes_and_cmyk_of_pictures_are_colours() -> None:
    indices = Image.fromarray(FLAT[..., 0], "P")
    indices.putpalette(RANDOM.integers(0, 256, 768, dtype=np.uint8).tobytes())
    np.testing.assert_array_equal(read(saved(indices, "PNG")).image, np.asarray(indices.convert("RGB")))
    ink = Image.new("CMYK", (8, 8), (0, 200, 200, 0))
    decoded = read(saved(ink, "JPEG"))
    assert np.abs(decoded.image.astype(int) - (255, 55, 55)).max() < 8
    assert "CMYK" in decoded.facts[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html></html>", "HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a server's error message"),
        (b"/annex/objects/MD5E-s9--0.png\n", "git-annex pointer"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not supported"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC is not supported"),
        (saved(Image.new("RGB", (8, 8)), "JPEG2000"), "JPEG 2000 is not supported"),
        (saved(Image.new("RGB", (8, 8)), "PPM"), "Netpbm is not supported"),
        (frames("GIF"), "GIF of 2 frames is not supported"),
        (frames("WEBP"), "WEBP of 2 frames is not supported"),
        (frames("PNG"), "PNG of 2 frames is not supported"),
        (b"\xff\xd8\xff\xc1\x00\x11\x0c" + bytes(20), "JPEG of 12 bits is not supported"),
        (b"\xff\xd8\xff\xc3\x00\x11\x08" + bytes(20), "lossless or hierarchical JPEG"),
    ],
)
def test_what_isnt_read_is_named_and_not_called_broken(content: bytes, words: str) -> None:
    with pytest.raises(UndecodableError, match=words):
        read(content)


def folder_of(folder: Path, images: dict[str, bytes]) -> Path:
    for number in range(6):
        for label in "ab":
            path = folder / label / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tiff(RANDOM.integers(0, 2**16, (16, 16, 4), dtype=np.uint16), planarconfig="contig"))
    for name, content in images.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (FLAT[:16, :16], "has 4 channels of uint8"),
        (DEEP[:16, :16, :3], "has 3 channels of uint16"),
    ],
)
@pytest.mark.parametrize("pixels", ["none", "percentiles", "thesis"])
def test_one_image_of_other_bits_or_channels_is_named(values: Array, found: str, pixels: str, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", {"b/odd.tif": tiff(values, planarconfig="contig")})
    with pytest.raises(BadInputError, match=rf"odd\.tif: {found}.*all images of a store have the same") as caught:
        prepare("folder", source=source, root=tmp_path / "out", pixels=pixels)
    assert "--image-size" not in str(caught.value)


def test_a_store_says_what_was_decided(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", {"b/photo.heic": b"photo", "b/bad.tif": b"II*\0 cut off"})
    with pytest.raises(BadInputError, match=r"bad\.tif: .*leave such files out with --skip-corrupt"):
        prepare("folder", source=source, root=tmp_path / "out")
    store = made("folder", tmp_path / "out", source=source, skip_corrupt=True, pixels="percentiles")
    assert any("12 images: TIFF of 16 bits, 4 channels" in note for note in store.info.notes)
    assert any("aren't supported were left out: b/photo.heic" in note for note in store.info.notes)
    assert "bad.tif" in store.info.corrupt[0]


def test_a_stated_range_is_part_of_the_store(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(6):
            path = tmp_path / "in" / label / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tiff(RANDOM.normal(size=(16, 16)).astype(np.float32)))
    with pytest.raises(BadInputError, match=r"need a scale .* or say with --value-range LOW,HIGH"):
        prepare("folder", source=tmp_path / "in", root=tmp_path / "out")
    store = made("folder", tmp_path / "out", source=tmp_path / "in", value_range=(-3.0, 3.0))
    assert store.info.options["value range"] == "-3.0,3.0"
    assert store.info.dtype == "uint16"
    for faulty in ((3.0, -3.0), (0.0, float("inf"))):
        with pytest.raises(BadInputError, match="LOW must be below HIGH"):
            prepare("folder", source=tmp_path / "in", root=tmp_path / "x", value_range=faulty)


def test_the_decoders_alone_take_what_they_took() -> None:
    assert decode_any(ArchiveFile("x", saved(Image.fromarray(FLAT[..., 0]), "PNG"))).shape == (24, 20, 3)


def test_a_colour_profile_other_than_srgb_is_said(tmp_path: Path) -> None:
    told = "a colour profile other than sRGB is not applied"
    for name, profile in (("srgb", ImageCms.createProfile("sRGB")), ("lab", ImageCms.createProfile("LAB"))):
        content = ImageCms.ImageCmsProfile(profile).tobytes()
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png", icc_profile=content)
        assert (told in decode_image(tmp_path / f"{name}.png").facts) == (name == "lab")
    Image.new("L", (4, 4)).save(tmp_path / "grey.jpg", icc_profile=content)
    assert told not in decode_image(tmp_path / "grey.jpg").facts


def test_a_warning_of_the_first_image_is_not_printed(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "a/2.png", "b/2.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("P", (4, 4)).save(tmp_path / "own" / name, transparency=bytes(16))
    info = prepare("folder", source=tmp_path / "own", root=tmp_path / "out")  # warnings are errors in tests
    assert "4 images: opacity left out" in info.notes
