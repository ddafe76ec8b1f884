"""Photos, tables and archives that somebody else made: small files that unpack to much are refused, in one line."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sweep.data import main
from trainables.data.preparing.prepare import prepare
from trainables.data.sources import archive, bigearthnet_lists, picture_file
from trainables.data.sources import table as label_table
from trainables.data.sources.archive import stream_tar
from trainables.data.sources.decode import decode_any, decode_band, decode_rgb
from trainables.data.sources.file_tree import open_tree
from trainables.data.sources.source import ArchiveFile
from trainables.errors import BadInputError
from trainables.files.parquet_file import ParquetRows
from trainables.files.unpacked_limit import RATIO, SMALL, VARIABLE, unpacked_limit

MEBIBYTE = 2**20


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Python's own memory stays below what the refused file would unpack to."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 * MEBIBYTE


def refused(content: bytes, words: str, read: Callable[[ArchiveFile], object] = decode_any) -> None:
    with pytest.raises(BadInputError, match=words) as caught:
        read(ArchiveFile("archive.zip: photo", content))
    text = str(caught.value)
    assert "\n" not in text
    assert "archive.zip: photo" in text
    assert len(text) < 600


def tiff(side: int, **more: object) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, np.zeros((side, side), np.uint8), compression="zlib", **more)
    return content.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *between: bytes, pixels: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def packed(megabytes: int) -> bytes:
    """Return deflated zeros, about a kilobyte for each megabyte."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(megabytes)) + packer.flush()


# Images


def test_the_rule() -> None:
    assert unpacked_limit(100) == SMALL
    assert unpacked_limit(10 * MEBIBYTE) == RATIO * 10 * MEBIBYTE
    assert unpacked_limit(10 * MEBIBYTE, 2**30) == 2**30


def test_a_tiff_of_some_kilobytes_that_unpacks_to_192_mebibytes_is_refused(little_memory: None) -> None:
    strip = packed(1)
    content = rewritten(tiff(64), {256: 16384, 257: 12288})
    refused(content, "unpack to 201,326,592")
    assert len(strip) < 2000


def rewritten(content: bytes, values: dict[int, int]) -> bytes:
    """Change numbers of a little-endian TIFF's first directory."""
    changed = bytearray(content)
    start = struct.unpack_from("<I", content, 4)[0]
    for entry in range(struct.unpack_from("<H", content, start)[0]):
        place = start + 2 + 12 * entry
        code, kind = struct.unpack_from("<HH", content, place)
        if code in values:
            struct.pack_into("<H" if kind == 3 else "<I", changed, place + 8, values[code])
    return bytes(changed)


def test_a_real_tiff_of_zeros_is_refused_and_a_person_can_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = tiff(9000)
    assert len(content) < 200_000
    refused(content, rf"unpack to 81,171,000 or more, the limit is {SMALL:,}: .* set {VARIABLE}=81171000")
    monkeypatch.setenv(VARIABLE, "81171000")
    assert decode_any(ArchiveFile("x", content)).shape == (9000, 9000, 1)
    monkeypatch.setenv(VARIABLE, "lots")
    with pytest.raises(BadInputError, match=f"^{VARIABLE} 'lots': must be a number of bytes"):
        decode_any(ArchiveFile("x", content))


@pytest.mark.parametrize("compression", ["zlib", pytest.param("lzma", marks=pytest.mark.slow)])
def test_a_strip_that_holds_more_than_it_declares_is_unpacked_no_further(compression: str, little_memory: None) -> None:
    content = io.BytesIO()
    tifffile.imwrite(content, np.zeros((8, 8), np.uint8), compression=compression)
    with tifffile.TiffFile(io.BytesIO(content.getvalue())) as made:
        page = made.pages.first
        place, tags = page.tags[273].valueoffset, page.tags
        counts = tags[279].valueoffset
    strip = packed(300) if compression == "zlib" else lzma.compress(bytes(300 * MEBIBYTE))
    changed = bytearray(content.getvalue())
    struct.pack_into("<I", changed, place, len(changed))
    struct.pack_into("<I", changed, counts, len(strip))
    tracemalloc.reset_peak()
    image = decode_any(ArchiveFile("x", bytes(changed) + strip))
    assert image.shape == (8, 8, 1)
    assert not image.any()


def test_a_tiff_that_says_it_is_larger_than_numbers_go_is_refused() -> None:
    """The product of its sides overflows 64 bits."""
    content = io.BytesIO()
    tifffile.imwrite(
        content, np.zeros((8, 8), np.uint8), bigtiff=True, description='{"shape": [4294967296, 4294967296]}'
    )
    with pytest.raises(BadInputError):
        decode_any(ArchiveFile("x", rewritten(tiff(8), {256: 2**32 - 1, 257: 2**32 - 1})))
    decode_any(ArchiveFile("x", content.getvalue()))


def test_another_compression_is_named() -> None:
    refused(rewritten(tiff(64), {259: 34712}), r"compression JPEG2000 \(34712\) is none that is read")


def test_a_band_is_measured_before_it_is_decoded(little_memory: None) -> None:
    content = io.BytesIO()
    Image.fromarray(np.zeros((120, 120), np.uint16)).save(content, "TIFF", compression="tiff_adobe_deflate")
    big = rewritten(content.getvalue(), {256: 9000, 257: 9000})
    refused(big, "found 9000 x 9000 pixels", lambda blob: decode_band(blob, largest=120))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_pngs_packed_texts_are_not_unpacked_to_their_end(kind: bytes, little_memory: None) -> None:
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    refused(png(8, 8, chunk(kind, head + packed(200)), pixels=zlib.compress(bytes(8 * 25))), "too large|Decompressed")


def test_many_texts_of_a_png_are_refused_together(little_memory: None) -> None:
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(MEBIBYTE - 10)))
    refused(png(8, 8, *[text] * 100, pixels=zlib.compress(bytes(8 * 25))), "memory|Too much")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_png_that_unpacks_to_much_is_refused(little_memory: None) -> None:
    refused(png(10_000, 10_000, pixels=packed(1)), "unpack to 300,000,000")
    refused(png(2**31 - 1, 2**31 - 1, pixels=packed(1)), "can't be decoded")
    grey = io.BytesIO()
    Image.new("1", (9000, 9000)).save(grey, "PNG")  # a bit a pixel, three bytes when it is red, green and blue
    refused(grey.getvalue(), "unpack to 243,000,000")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_jpeg_that_unpacks_to_much_is_refused(little_memory: None) -> None:
    content = io.BytesIO()
    Image.new("RGB", (16, 16)).save(content, "JPEG")
    data = bytearray(content.getvalue())
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, 8000, 8000)
    refused(bytes(data), "unpack to 192,000,000")
    refused(bytes(data), "expected 64 x 64 pixels, found 8000 x 8000", lambda blob: decode_rgb(blob, 64))


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, "JPEG", progressive=True)
    data = content.getvalue()
    start = data.index(picture_file.SCAN)
    end = data.index(b"\xff", start + 2)
    refused(data[:start] + data[start:end] * 2000 + data[start:], "more than 500 scans")


def test_texts_beside_a_photo_are_fine() -> None:
    info = PngInfo()
    info.add_text("comment", "a birch", zip=True)
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG", pnginfo=info)
    assert decode_any(ArchiveFile("x", content.getvalue())).shape == (8, 8, 3)


def test_a_file_larger_than_any_photo_is_not_read(tmp_path: Path, little_memory: None) -> None:
    path = tmp_path / "photo.png"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(BadInputError, match=r"photo\.png: can't be decoded \(10,737,418,240 bytes are more"):
        decode_any(str(path))


def test_prepare_says_which_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in "ab":
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "in" / label / "1.png")
    (tmp_path / "in" / "b" / "2.tif").write_bytes(tiff(9000))
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "folder", "--source", str(tmp_path / "in"), "--root", str(tmp_path / "out"), "--as", "mine"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "2.tif" in line
    assert VARIABLE in line


# Archives


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for member, data in members:
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_tar_that_unpacks_to_much_is_refused(
    pack: Callable[[bytes], bytes], tmp_path: Path, little_memory: None
) -> None:
    """Wanted or not: what is skipped is unpacked too."""
    path = tmp_path / "x.tar"
    path.write_bytes(pack(tar_of(*((tarfile.TarInfo(str(number)), bytes(20 * MEBIBYTE)) for number in range(4)))))
    tracemalloc.reset_peak()
    with pytest.raises(BadInputError, match=rf"x\.tar: .* unpack to 6\d,\d\d\d,\d\d\d or more.*{VARIABLE}"):
        list(stream_tar(path, lambda name: False))


def test_a_tars_own_headers_are_small(tmp_path: Path, little_memory: None) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        member = tarfile.TarInfo("x")
        member.type = kind
        path = tmp_path / "x.tar.gz"
        path.write_bytes(gzip.compress(tar_of((member, bytes(30 * MEBIBYTE)))))
        tracemalloc.reset_peak()
        with pytest.raises(BadInputError, match=r"x\.tar\.gz: 'x': a header of 31,457,280 bytes"):
            list(stream_tar(path, lambda name: True))


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    old = tarfile.TarInfo("old")
    old.type = tarfile.GNUTYPE_SPARSE
    new = tarfile.TarInfo("new")
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    for member in (old, new):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as made:
            member.size = 512
            made.addfile(member, io.BytesIO(b"1\n0\n1\n" + bytes(506)))
        (tmp_path / "x.tar").write_bytes(content.getvalue())
        with pytest.raises(BadInputError, match=r"x\.tar: '[\w./@]+': a sparse file"):
            list(stream_tar(tmp_path / "x.tar", lambda name: True))


def test_an_xz_that_wants_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.xz").write_bytes(_huge_dictionary())
    with pytest.raises(BadInputError, match="emory"):
        list(stream_tar(tmp_path / "x.tar.xz", lambda name: True))


def _huge_dictionary() -> bytes:
    """Return an xz file whose block header declares a dictionary of 1.5 GiB; to make one takes ten times that."""
    content = bytearray(lzma.compress(b"x", format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE))
    size = (content[12] + 1) * 4  # of the block header, after the stream's 12 bytes
    place = content.index(b"\x21\x01", 12)  # the LZMA2 filter, one byte of properties
    content[place + 2] = 37
    struct.pack_into("<I", content, 12 + size - 4, zlib.crc32(content[12 : 12 + size - 4]))
    return bytes(content)


def test_a_zip_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for number in range(4):
            made.writestr(f"a/{number}.png", bytes(20 * MEBIBYTE))
    with pytest.raises(BadInputError, match=rf"x\.zip: .* unpack to 83,886,080 or more.*{VARIABLE}") as caught:
        open_tree(path)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(BadInputError, match=r"x\.zip: 4 files are more than 3"):
        open_tree(path)


def test_archives_of_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    (tmp_path / "x.tar").write_bytes(tar_of(*((tarfile.TarInfo(str(number)), b"") for number in range(5))))
    with pytest.raises(BadInputError, match=r"x\.tar: more than 3 files"):
        list(stream_tar(tmp_path / "x.tar", lambda name: True))


# Tables


def write_parquet(path: Path, image: bytes, rows: int, **more: object) -> Path:
    images = pa.array([{"bytes": image, "path": ""}] * rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": images, "label": ["a"] * rows}), path, compression="zstd", **more)
    return path


@pytest.mark.slow
def test_a_parquet_page_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", bytes(80 * MEBIBYTE), 1)
    assert path.stat().st_size < 50_000
    before = pa.total_allocated_bytes()
    with pytest.raises(BadInputError, match=rf"train\.parquet: .*unpack to 8\d,.*{VARIABLE}"):
        prepare("parquet", source=path, root=tmp_path / "out")
    assert pa.total_allocated_bytes() - before < 10 * MEBIBYTE


@pytest.mark.slow
def test_a_parquet_value_that_is_repeated_is_counted_each_time(tmp_path: Path, little_memory: None) -> None:
    path = write_parquet(tmp_path / "train.parquet", bytes(4 * MEBIBYTE), 200, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 50_000
    tracemalloc.reset_peak()
    with pytest.raises(ValueError, match="unpack to"):
        list(ParquetRows(path).batches())
    with pytest.raises(BadInputError, match=rf"train\.parquet: .*{VARIABLE}"):
        prepare("parquet", source=path, root=tmp_path / "out")


def test_rows_are_the_same_as_pyarrows_own(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"name": ["a", None, "b"] * 100, "labels": [["x", "y"], [], ["x"]] * 100, "number": range(300)})
    pq.write_table(table, path)
    rows = [row for batch in ParquetRows(path).batches() for row in batch]
    assert rows == table.to_pylist()


def test_lists_and_tables_are_read_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigearthnet_lists, "LIST_BYTES", 1000)
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(b"x" * 2000))
    with pytest.raises(BadInputError, match="more than 1,000 bytes"):
        bigearthnet_lists._names(tmp_path / "train.csv.gz")
    monkeypatch.setattr(label_table, "TABLE_BYTES", 1000)
    (tmp_path / "table.csv").write_text("path,label\n" + "x,y\n" * 1000)
    with pytest.raises(BadInputError, match="has 4,011 bytes"):
        label_table._csv(Mock(), tmp_path / "table.csv", [])
