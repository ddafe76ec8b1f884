"""Foreign names and texts made safe to show: in a terminal, HTML, figures, Markdown and CSV cells.

File names, class names, descriptions and messages come from archives, data sets and other people's records.
"""

import re
import unicodedata

_ESCAPED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Control signs, invisible and direction signs, halves of surrogate pairs, private and unassigned ones, line ends."""
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0") | {
    chr(number) for number in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
"""Invisible characters of other Unicode categories."""
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212|%]|[\t\r\n]")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+=-])")
_LIST_NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")


def printable(text: str) -> str:
    """Return a text as one line; control characters and invisible characters are escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign_code(sign) if is_invisible(sign) else sign for sign in text)


def printable_lines(text: str) -> str:
    """Return a text as `printable` does, but keep its line breaks."""
    return "\n".join(printable(line) for line in text.split("\n"))


def figure_text(text: str) -> str:
    """Return a text for a matplotlib figure: dollar signs and a leading underscore are escaped."""
    shown = printable(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def markdown_text(text: str) -> str:
    """Return a text for Markdown, on one line and without markup, links or HTML."""
    return _LIST_NUMBER.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", printable(text).strip()))


def csv_cell(value: object) -> object:
    """Return a value for a CSV table; a text that a spreadsheet would read as a formula gets an apostrophe."""
    if not isinstance(value, str) or _is_number(value):
        return value
    return printable(f"'{value}" if _FORMULA.match(value) else value)


def is_invisible(sign: str) -> bool:
    """Whether a character can't be seen, or changes how a terminal shows others."""
    return sign in _INVISIBLE or unicodedata.category(sign) in _ESCAPED_CATEGORIES


def sign_code(sign: str) -> str:
    r"""Return the escape that stands for a sign: \n, \x07, \u65e5, \U0001f33e."""
    number = ord(sign)
    code = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return _SHORT.get(sign, code)


def _is_number(text: str) -> bool:
    if text != text.strip():  # float() takes line ends
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True
