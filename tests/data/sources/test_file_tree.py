"""The files of a folder: links followed within it, junk counted, names that aren't UTF-8 refused."""

import os
import socket
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from trainables.data.sources.file_tree import junk, open_tree
from trainables.errors import BadInputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_links_to_files_and_folders_of_the_source_are_followed_and_told(tmp_path: Path) -> None:
    root = tmp_path / "source"
    touch(root / "all" / "cat" / "1.jpg", root / "train" / "dog" / "2.jpg", tmp_path / "elsewhere" / "3.jpg")
    (root / "train" / "cat").symlink_to("../all/cat")
    (root / "test").symlink_to(root / "train")
    (root / "train" / "dog" / "3.jpg").symlink_to(tmp_path / "elsewhere" / "3.jpg")
    tree = open_tree(root)
    within = ["cat/1.jpg", "dog/2.jpg", "dog/3.jpg"]
    assert tree.names() == ["all/cat/1.jpg", *(f"{split}/{name}" for split in ("test", "train") for name in within)]
    assert all(tree.read(name) == b"x" for name in tree.names())
    assert "test -> train" in tree.links
    assert "train/cat -> all/cat" in tree.links
    assert f"train/dog/3.jpg -> {tmp_path / 'elsewhere' / '3.jpg'}" in tree.links


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("..", "cat/link: a link that leads in a circle"),
        (".", "cat/link: a link that leads in a circle"),
        ("../../elsewhere", "cat/link: a link to a folder outside the source"),
        ("nowhere", "cat/link: a link that leads nowhere"),
    ],
)
def test_links_that_lead_out_in_a_circle_or_nowhere_are_refused(target: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path / "source" / "cat" / "1.jpg", tmp_path / "elsewhere" / "2.jpg")
    (tmp_path / "source" / "cat" / "link").symlink_to(target)
    with pytest.raises(BadInputError, match=message):
        open_tree(tmp_path / "source").names()


def test_two_links_that_lead_to_each_other_are_a_circle(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg", tmp_path / "b" / "2.jpg")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    with pytest.raises(BadInputError, match="a link that leads in a circle"):
        open_tree(tmp_path).names()


def test_what_systems_leave_is_counted_by_reason(tmp_path: Path) -> None:
    names = [
        "cat/1.jpg",
        "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        "cat/Thumbs.db",
        "cat/.DS_Store",
        "__MACOSX/cat/._1.jpg",
    ]
    touch(*(tmp_path / name for name in [*names, "lost+found/2.jpg", ".git/3.jpg", "cat/desktop.ini"]))
    (tmp_path / "cat" / ".hidden").symlink_to("nowhere")
    tree = open_tree(tmp_path)
    assert tree.names() == ["cat/1.jpg"]
    assert tree.left_out == {
        "in @eaDir/": 1,
        "Thumbs.db": 1,
        "hidden": 2,
        "in __MACOSX/": 1,
        "in lost+found/": 1,
        "desktop.ini": 1,
    }
    assert junk("dog/eaDir/1.jpg") is None


def test_pipes_sockets_devices_and_empty_folders_named_as_images_are_counted_and_never_opened(tmp_path: Path) -> None:
    touch(tmp_path / "cat" / "1.jpg", tmp_path / "dog.png" / "2.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "linked.jpg").symlink_to("pipe.png")
    (tmp_path / "cat" / "null.png").symlink_to("/dev/null")
    (tmp_path / "cat" / "folder.PNG").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "cat" / "s.jpg"))
        tree = open_tree(tmp_path)
        assert tree.names() == ["cat/1.jpg", "dog.png/2.jpg"]
    assert tree.left_out == {
        "each a pipe (cat/linked.jpg, cat/pipe.png)": 2,
        "each a socket (cat/s.jpg)": 1,
        "each a device (cat/null.png)": 1,
        "each an empty folder with the name of an image (cat/folder.PNG)": 1,
    }
    with pytest.raises(BadInputError, match=r"pipe\.png: is a pipe; give a folder or a zip"):
        open_tree(tmp_path / "cat" / "pipe.png")


def test_a_name_that_is_no_utf8_is_named_and_refused(tmp_path: Path) -> None:
    touch(tmp_path / "cat" / "1.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(BadInputError, match=r"cat/caf\\udce9\.jpg: its name isn't UTF-8; rename it"):
        open_tree(tmp_path).names()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.tar.gz", b"\x1f\x8b\x08", "a packed archive other than zip; unpack it"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "a packed archive"),
        ("x.zip", b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer"),
        ("x.zip", b"<!DOCTYPE html><html>", "an HTML page"),
        ("x.zip", b"", "the file is empty"),
        ("x.parquet", b"PAR1", "a Parquet file; prepare it as parquet"),
        ("x.txt", b"x", "neither a folder nor a zip"),
    ],
)
def test_a_source_that_is_no_zip_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=words):
        open_tree(tmp_path / name)


def test_a_zip_may_name_its_files_from_here(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in ("./cat/1.jpg", "./cat/.hidden", "./.git/1.jpg"):
            packed.writestr(name, b"x")
    assert open_tree(tmp_path / "x.zip").names() == ["./cat/1.jpg"]


def renamed_zip(path: Path, name: bytes) -> Path:
    """Write a zip with a file in a folder `name`, in bytes that the archive doesn't declare as UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{'x' * len(name)}/1.jpg", b"x")
    path.write_bytes(path.read_bytes().replace(b"x" * len(name) + b"/", name + b"/"))
    return path


def test_names_of_a_zip_are_utf8_or_refused(tmp_path: Path) -> None:
    tree = open_tree(renamed_zip(tmp_path / "mac.zip", "caf\u00e9".encode()))
    assert tree.names() == ["caf\u00e9/1.jpg"]
    assert tree.read("caf\u00e9/1.jpg") == b"x"
    with pytest.raises(BadInputError, match=r"dos.zip: caf\\x82/1.jpg: its name isn't UTF-8"):
        open_tree(renamed_zip(tmp_path / "dos.zip", "caf\u00e9".encode("cp437")))
