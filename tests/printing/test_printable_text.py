"""Texts of others made printable: in a terminal, in CSV cells, in Markdown."""

from hypothesis import given
from hypothesis import strategies as st
from support.hostile_names import acting

from trainables.printing.printable_text import csv_cell, markdown_text, printable


@given(st.text())
def test_a_printable_text_acts_on_nothing_and_is_printable_twice(text: str) -> None:
    shown = printable(text)
    assert acting(shown) == []
    assert "\n" not in shown
    assert printable(shown) == shown
    shown.encode()


@given(
    st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\u2800\u3164\uffa0\u115f\u1160"))
)
def test_what_everybody_sees_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_no_text_becomes_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str)
    try:
        float(cell)
    except ValueError:
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert acting(cell) == []


def test_numbers_stay_numbers() -> None:
    assert [csv_cell(value) for value in (-0.5, 3, None, True, "-0.5", "+1e3", "-inf")] == [
        *(-0.5, 3, None, True),
        *("-0.5", "+1e3", "-inf"),
    ]
    assert csv_cell("\uff1d1+1") == "'\uff1d1+1"
    assert csv_cell("  =1") == "'  =1"
    assert csv_cell("1\r") == r"1\r"


@given(st.text())
def test_no_text_is_markup_in_markdown(text: str) -> None:
    shown = markdown_text(text)
    assert "\n" not in shown
    for place, sign in enumerate(shown):
        if sign in "`*[]<>|$~&":
            before = shown[:place]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1
