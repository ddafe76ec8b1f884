"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from trainables.files.atomic_file import write_atomically


def test_a_file_is_replaced_and_a_link_doesnt_lead_elsewhere(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_bytes(b"kept")
    link.symlink_to(other)
    for content in (b"first", b"second"):
        write_atomically(link, content)
        assert link.read_bytes() == content
    assert not link.is_symlink()
    assert other.read_bytes() == b"kept"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        assert self.read_bytes() == b"new", "the content is complete before the file has its name"
        raise OSError("disk full")

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
