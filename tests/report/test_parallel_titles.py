"""Titles of parallel coordinates."""

from sweep.report.parallel_chart import _title


def test_a_long_word_of_a_title_is_not_cut() -> None:
    assert _title("test/classification_accuracy") == "test<br>classification<br>accuracy"
