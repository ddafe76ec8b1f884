"""Names in scripts from right to left don't reorder what stands around them."""

from sweep.report.text_direction import END, ISOLATE, isolated


def test_a_name_from_right_to_left_is_isolated_whole() -> None:
    wheat, apple = "\u05d7\u05d9\u05d8\u05d4", "\u062a\u0641\u0627\u062d"
    assert isolated(f"<text>{wheat}, 93 %</text>") == f"<text>{ISOLATE}{wheat}{END}, 93 %</text>"
    assert isolated(f"is {apple} {apple}.") == f"is {ISOLATE}{apple} {apple}{END}."
    assert isolated("plain \u6c34") == "plain \u6c34"
