"""Tables of images: separators, headers, empty cells and files that are none."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data.dataset_facts import FOLDER
from trainables.data.sources.options import choose
from trainables.data.sources.source import PrepareRequest
from trainables.data.sources.table import ImageTable, read_table
from trainables.errors import BadInputError


def table_of(path: Path, content: str | bytes | None = None, **options: Any) -> ImageTable:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    columns = options.pop("columns", {})
    return read_table(PrepareRequest(FOLDER, choose(FOLDER, options), path.parent, table=path, columns=columns), path)


@pytest.mark.parametrize(("between", "told"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_what_stands_between_columns_is_read_from_the_header(between: str, told: str, tmp_path: Path) -> None:
    rows = [
        ["path", "note", "label", "split"],
        ["a.png", "1,5; x", "cat", "Training Set"],
        ["b.png", "y", "dog", "eval"],
    ]
    text = "\r\n".join(between.join(f'"{cell}"' for cell in row) for row in rows)
    table = table_of(tmp_path / "t.csv", text)
    assert table.read_as == f"{told} between columns"
    assert [(row.path, row.labels, row.split) for row in table.rows] == [
        ("a.png", ("cat",), "train"),
        ("b.png", ("dog",), "test"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label,label\na.png,cat,dog\n", r"2 columns are named 'label'; rename all but one"),
        ("path,split,label,split\na.png,train,dog,test\n", r"2 columns are named 'split'"),
        ("file;species\na.png;cat\n", r"no column 'path' among 'file', 'species'; name the table's own with --column"),
        ("path,label\na.png,cat,dog\n", r"t\.csv:2: 3 cells in 2 columns"),
        ("path,label\n\n\na.png,cat,dog\n", r"t\.csv:4: 3 cells in 2 columns"),
        ("path,label\n\n,cat\n", r"t\.csv:3: column path is empty"),
        ("sep=;\npath;label\na.png;cat\n", r"t\.csv: its first line, 'sep=;', is Excel's and no row; remove it"),
        ("path,label\na.png,NaN\n", r"t\.csv:2: label 'NaN' means a missing label"),
        ("path,label\na.png,#N/A\n", r"label '#N/A' means a missing label"),
        ("path,label\na.png,NULL\n", r"label 'NULL' means a missing label"),
        ("path,label\na.png,\"['cat', 'dog']\"\n", r"is a list written as text; write its labels as a\|b"),
        ("path,label,split\na,c,train\nb,c,trainval\n", r"'train' and 'trainval' both name the train split"),
        ("path,label,split\na,c,test\nb,c,eval\n", r"'eval' and 'test' both name the test split"),
        ("# made by hand\npath,label\na.png,cat\n", r"no column 'path' among '# made by hand'"),
        ("path,label\na.png,c\0at\n", r"it has zero bytes"),
        ("path,label\na.png,cat\n".encode("utf-16-le"), r"it has zero bytes"),
        (b"PK\x03\x04\x14\x00", r"not a CSV table, but a zip or an Excel workbook"),
        ("path,label,split\na.png,cat,somewhere\n", r"split 'somewhere' is none of train, validation, test"),
        ("path,label\n", r"no row; expected one for each image"),
        ("", r"its first line is empty"),
        ("path,label\nä.png,cat\n".encode("latin-1"), r"not a CSV table in UTF-8 \(byte 11 is none of it\)"),
        ("path,label\na.png,cat\n".encode("utf-16"), r"not a CSV table in UTF-8 \(UTF-16\); save it as CSV in UTF-8"),
    ],
)
def test_a_table_that_cant_be_read_is_named(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        table_of(tmp_path / "t.csv", content)


def test_a_missing_table_is_missing_and_a_folder_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"--table .*t\.csv: no such file$"):
        table_of(tmp_path / "t.csv")
    with pytest.raises(BadInputError, match="a folder; give the table's file"):
        table_of(tmp_path)
    with pytest.raises(
        BadInputError, match="no column 'fold' among 'path', 'label'; name the table's own with --column split"
    ):
        table_of(tmp_path / "t.csv", "path,label\na,b\n", columns={"split": "fold"})


def test_cells_and_rows_that_excel_leaves_empty_are_no_rows(tmp_path: Path) -> None:
    text = "path;label;;\r\na.png;cat;;;;\r\n;;;\r\n  \r\nb.png;dog\r\n;;;;;\r\n"
    rows = table_of(tmp_path / "t.csv", text).rows
    assert [(row.path, row.labels) for row in rows] == [("a.png", ("cat",)), ("b.png", ("dog",))]
    assert rows[1].where.endswith("t.csv:5")


def test_an_empty_cell_is_an_unlabelled_image(tmp_path: Path) -> None:
    rows = table_of(tmp_path / "t.csv", "path,label,split\na.png,,test\nb.png\nc.png,dog,train\n").rows
    assert [row.labels for row in rows] == [None, None, ("dog",)]


def test_parquet_tables_have_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([["a.png"], ["cat"], ["dog"]], names=["path", "label", "label"]), path)
    with pytest.raises(BadInputError, match="2 columns are named 'label'"):
        table_of(path)
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [1.0, float("nan")]}), path)
    assert [row.labels for row in table_of(path).rows] == [("1.0",), None]
    pq.write_table(pa.table({"path": ["a.png"], "label": [["cat", "dog"]]}), path)
    assert table_of(path, separator="|").rows[0].labels == ("cat", "dog")


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    rows = table_of(tmp_path / "t.csv", "path,label\n.//x/1.png,cat\nx/../x/2.png,dog\n").rows
    assert [row.path for row in rows] == ["x/1.png", "x/2.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line is empty; it has to name the columns"),
        (b"\n\npath,label\n", "its first line is empty"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "not a CSV table, but an older Excel workbook"),
        (b"\x1f\x8b\x08\x00", "not a CSV table, but packed with gzip"),
        (b"ARROW1\0\0", "not a CSV table, but a Feather file"),
        (b"<!DOCTYPE html><html>", "not a CSV table, but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a CSV table, but a git-LFS pointer"),
    ],
)
def test_what_is_no_table_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        table_of(tmp_path / "t.csv", content)
