"""Archives: the same files out of every packing, and nothing unsafe, cut off or damaged passes for whole."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from trainables.data.sources import archive
from trainables.data.sources.archive import is_tar, stream_tar
from trainables.data.sources.file_tree import open_tree
from trainables.errors import BadInputError

FILES = {f"top/{folder}/{number}.bin": bytes([number]) * (700 * number + 1) for folder in "ab" for number in range(5)}
Pack = Callable[[bytes], bytes]


PACKINGS: dict[str, Pack] = {
    "tar": lambda content: content,
    "tar.gz": gzip.compress,
    "tar.gz of two members": lambda content: gzip.compress(content[:5000]) + gzip.compress(content[5000:]),
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def tar_of(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for member in members:
            made.addfile(member)
    return content.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packing", list(PACKINGS))
def test_a_tar_gives_its_files_in_one_pass(packing: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.bin", PACKINGS[packing](tar_of(FILES)))
    heard: list[tuple[int, int]] = []
    assert is_tar(path)
    assert dict(stream_tar(path, lambda name: True, progress=lambda *told: heard.append(told))) == FILES
    assert heard[-1][0] <= heard[-1][1] == path.stat().st_size
    assert [name for name, _ in stream_tar(path, lambda name: "/a/" in name)] == [n for n in FILES if "/a/" in n]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_tar_of_several_zstd_frames_is_read_to_its_end(frames: int, tmp_path: Path) -> None:
    content, path = tar_of(FILES), tmp_path / "x.tar.zst"
    step = -(-len(content) // frames)
    with path.open("wb") as file:
        for start in range(0, len(content), step):
            part = tmp_path / "frame"
            with pa.output_stream(str(part), compression="zstd") as stream:
                stream.write(content[start : start + step])
            file.write(part.read_bytes())
    assert dict(stream_tar(path, lambda name: True)) == FILES
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInputError, match=r"x\.tar\.zst: truncated"):
        list(stream_tar(path, lambda name: True))


def test_a_folder_and_a_zip_give_the_same_files(tmp_path: Path) -> None:
    for name, content in {**FILES, ".DS_Store": b"x", "top/.hidden/x": b"x", "__MACOSX/top/x": b"x"}.items():
        write(tmp_path / "folder" / name, content)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted((tmp_path / "folder").rglob("*")):
            made.write(path, path.relative_to(tmp_path / "folder"))
    folder, packed = open_tree(tmp_path / "folder"), open_tree(tmp_path / "x.zip")
    assert folder.names() == packed.names() == sorted(FILES)
    for name, content in FILES.items():
        assert folder.read(name) == packed.read(name) == content
        assert folder.path(name) == str(tmp_path / "folder" / name)
        assert packed.path(name) is None
    with pytest.raises(BadInputError, match=r"x\.zip: nowhere: not in the archive"):
        packed.read("nowhere")
    with pytest.raises(BadInputError, match="neither a folder nor a zip"):
        open_tree(write(tmp_path / "text", b"hello"))
    with pytest.raises(BadInputError, match="no such file"):
        open_tree(tmp_path / "none")


def _member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, "/etc/passwd", size
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (_member("../up"), "leads out of the archive"),
        (_member("a/../../up"), "leads out of the archive"),
        (_member("/etc/x"), "leads out of the archive"),
        (_member("C:/x"), "leads out of the archive"),
        (_member("a\\..\\x"), "leads out of the archive"),
        (_member("x", tarfile.SYMTYPE), "a link or device"),
        (_member("x", tarfile.LNKTYPE), "a link or device"),
        (_member("x", tarfile.CHRTYPE), "a link or device"),
        (_member("x", tarfile.FIFOTYPE), "a link or device"),
    ],
)
def test_an_unsafe_member_of_a_tar_is_refused_though_nobody_wants_it(
    member: tarfile.TarInfo, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.tar", tar_of(FILES, member))
    with pytest.raises(BadInputError, match=message):
        list(stream_tar(path, lambda name: False))


def _zip(path: Path, name: str, *, mode: int = 0o644, content: bytes = b"x", twice: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is there twice
        for _ in range(1 + twice):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            made.writestr(info, content)
    return path


def test_unsafe_members_of_a_zip_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("../up", "/etc/x", "a/../../x", "C:/x"):
        with pytest.raises(BadInputError, match="leads out of the archive"):
            open_tree(_zip(tmp_path / "x.zip", name))
    with pytest.raises(BadInputError, match="backslashes between folders"):
        open_tree(_zip(tmp_path / "x.zip", "cat\\1.png"))
    path = _zip(tmp_path / "x.zip", "x")
    path.write_bytes(path.read_bytes().replace(b"\x08\x00", b"\x5d\x00"))
    with pytest.raises(BadInputError, match="packing method 93 isn't read; pack it with deflate"):
        open_tree(path)
    with pytest.raises(BadInputError, match="a link"):
        open_tree(_zip(tmp_path / "x.zip", "x", mode=stat.S_IFLNK | 0o777))
    with pytest.raises(BadInputError, match="is in the archive twice"):
        open_tree(_zip(tmp_path / "x.zip", "x", twice=True))
    path = _zip(tmp_path / "x.zip", "x")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadInputError, match="encrypted"):
        open_tree(write(path, bytes(content)))
    monkeypatch.setattr(archive, "MEMBER_LIMIT", 1000)
    bomb = _zip(tmp_path / "bomb.zip", "x", content=bytes(2000))
    with pytest.raises(BadInputError, match="2,000 bytes are more than any image has"):
        open_tree(bomb)
    lying = bytearray(bomb.read_bytes())
    for header, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = lying.index(header) + offset
        lying[start : start + 4] = (10).to_bytes(4, "little")
    with pytest.raises(BadInputError, match="truncated or damaged"):
        open_tree(write(bomb, bytes(lying))).read("x")
    with pytest.raises(BadInputError, match="more than any image has"):
        list(stream_tar(write(tmp_path / "x.tar", tar_of({"x": bytes(2000)})), lambda name: False))


@pytest.mark.parametrize("packing", list(PACKINGS))
def test_a_tar_that_is_cut_off_anywhere_never_passes_for_whole(packing: str, tmp_path: Path) -> None:
    content = tar_of(FILES)
    boundary = content.index(b"top/b/0.bin")  # between two members, where tarfile ends without a word
    whole = PACKINGS[packing](content)
    cuts = list(range(7, len(whole) - 20, 97))[:60]
    packed = [PACKINGS[packing](content[:boundary]), *(whole[:kept] for kept in cuts)]
    for part in packed:
        with pytest.raises(BadInputError, match=r"truncated|damaged"):
            list(stream_tar(write(tmp_path / "x", part), lambda name: True))


def test_any_damage_is_a_clear_error_or_none(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in FILES.items():
            made.writestr(name, data)
    intact = {name: pack(tar_of(FILES)) for name, pack in PACKINGS.items()}
    intact["zip"] = (tmp_path / "x.zip").read_bytes()
    refused = 0
    for number in range(300):
        kind = list(intact)[number % len(intact)]
        content = bytearray(intact[kind])
        for _ in range(int(random.integers(1, 6))):
            content[int(random.integers(0, len(content)))] ^= int(random.integers(1, 256))
        path = write(tmp_path / "damaged", bytes(content))
        try:
            _read_all(path, kind)
        except BadInputError:
            refused += 1
    assert refused > 100


def _read_all(path: Path, kind: str) -> None:
    if kind == "zip":
        tree = open_tree(path)
        for name in tree.names():
            tree.read(name)
    else:
        list(stream_tar(path, lambda name: True))


def test_memory_stays_flat_over_many_members(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", tar_of({f"patch_{number}/x": b"1" for number in range(8000)}))
    most = {}
    for count in (500, 8000):
        tracemalloc.start()
        for number, _ in enumerate(stream_tar(path, lambda name: True), start=1):
            if number == count:
                break
        most[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most[8000] < 2 * most[500]


def open_files() -> set[str]:
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def test_a_pass_that_is_given_up_closes_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar.gz", gzip.compress(tar_of(FILES)))
    before = open_files()
    stream = stream_tar(path, lambda name: True)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert open_files() == before
