"""The folder or address of the stores: what may be one, and how a store's name is joined to it."""

import os
from pathlib import Path

import pytest

from trainables.data.preparing.prepare import prepare
from trainables.data.remote_store import is_remote
from trainables.data.store_addresses import joined_address
from trainables.errors import BadInputError


def test_what_is_an_address() -> None:
    assert joined_address("s3://bucket/stores/", "digits") == "s3://bucket/stores/digits"
    assert (
        joined_address("s3://bucket/a?endpoint_override=host:9000", "b")
        == "s3://bucket/a/b?endpoint_override=host:9000"
    )
    assert is_remote("s3://bucket/stores")
    assert is_remote("file:///shared")
    assert not is_remote("/shared/stores")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("  ", "SWEEP_DATA '  ': isn't a folder; give a folder"),
        ("s3:/stores", "SWEEP_DATA 's3:/stores': isn't a folder; a URI begins with s3://"),
        ("FILE", r"SWEEP_DATA .*x\.txt: is a file; give a folder"),
    ],
)
def test_a_root_that_is_no_folder_is_one_line(
    root: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEP_DATA", root.replace("FILE", str(tmp_path / "x.txt")))
    with pytest.raises(BadInputError, match=message):
        prepare("digits")


def test_a_root_that_is_not_utf8_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(BadInputError, match=r"--root .*caf.*: its name isn't UTF-8; choose another folder"):
        prepare("digits", root=folder)
    monkeypatch.setenv("SWEEP_DATA", str(folder))
    with pytest.raises(BadInputError, match=r"SWEEP_DATA .*: its name isn't UTF-8"):
        prepare("digits")
