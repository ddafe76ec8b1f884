"""Classes that one split lacks: said with the nearest spelling; splits without a common class are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.preparing.class_checks import look_alikes, nearest, one_sided
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError

NFC, NFD = "caf\xe9", "cafe\u0301"


def write(folder: Path, *names: str) -> Path:
    random = np.random.default_rng(len(names))
    for name in names:
        for number in range(2):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return folder


def test_a_class_in_one_split_only_is_said_with_its_nearest_spelling(tmp_path: Path) -> None:
    source = write(tmp_path / "x", "train/forest", "train/river", "test/Forest", "test/river", "test/sea")
    info = prepare("folder", source=source, root=tmp_path / "out")
    lacking = [note for note in info.notes if note.startswith("classes without an image in ")]
    assert lacking == [
        "classes without an image in train: 'Forest' (2 test), nearest in train: 'forest'; 'sea' (2 test)",
        "classes without an image in test: 'forest' (2 train), nearest in test: 'Forest'",
    ]
    assert not any("without an image" in note for note in prepare("digits", root=tmp_path / "out").notes)


def test_spellings_in_other_code_points_are_shown_as_such() -> None:
    (note, _) = one_sided((NFC, NFD, "tea"), {"train": (3, 0, 1), "test": (0, 2, 1)})
    assert note.startswith(r"classes without an image in train: 'cafe\u0301' (2 test), the same as 'caf\xe9' in other ")
    assert nearest("Annual Crop", ["AnnualCrop", "annual_crop", "River"]) == "annual_crop"
    assert nearest("River", ["Forest"]) is None
    many = one_sided(tuple(map(str, range(9))), {"train": (0,) * 8 + (1,), "test": (1,) * 9})
    assert many == [
        f"classes without an image in train: {'; '.join(f'{name!r} (1 test)' for name in '01234')}; and 3 more"
    ]


def test_splits_without_a_common_class_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "x", "train/n01/images", "train/n02/images", "test/images")
    with pytest.raises(
        BadInputError, match="train and test have no class in common \\(train has 'n01'/'n02', test 'images'\\)"
    ):
        prepare("folder", source=source, root=tmp_path / "out")


def test_names_that_may_be_one_class_or_several_labels_are_said() -> None:
    names = ("Cat", "cat ", "1", "1.0", "dog", "a|b")
    assert look_alikes(names, single=True) == [
        "classes that may be one, and are kept apart: 'Cat' and 'cat '; '1' and '1.0'",
        "each of these texts is one class: 'a|b'; --separator '|' makes several labels of it",
    ]
    assert look_alikes(("cat", "dog", "a|b", "v1.0.1", "1e3"), single=False) == []


def test_classes_that_differ_by_case_are_said_where_both_splits_have_them(tmp_path: Path) -> None:
    source = write(
        tmp_path / "x", *(f"{split}/{name}" for split in ("train", "test") for name in ("Cat", "cat", "dog"))
    )
    notes = prepare("folder", source=source, root=tmp_path / "out").notes
    assert "classes that may be one, and are kept apart: 'Cat' and 'cat'" in notes


def test_signs_that_cant_be_seen_and_texts_for_nothing_are_said() -> None:
    assert look_alikes(("cat", "cat\u200b", "\ufeffdog", "dog"), single=True) == [
        "classes that may be one, and are kept apart: 'cat' and 'cat\\u200b'; '\\ufeffdog' and 'dog'"
    ]
    assert look_alikes(("None", "?", "cat"), single=True) == ["classes that may stand for a missing label: 'None'; '?'"]
    large = ("9223372036854775808", "9223372036854775809", "001", "1")
    assert look_alikes(large, single=True) == ["classes that may be one, and are kept apart: '001' and '1'"]


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ("\u0441at", r"'\u0441at'"),  # a Cyrillic letter
        ("c\u03b1t", r"'c\u03b1t'"),  # a Greek one
        ("cat\u00a0", r"'cat\xa0'"),
        ("\u2060cat", r"'\u2060cat'"),
        ("cat\ufe0f", r"'cat\ufe0f'"),
        ("\u3164cat", r"'\u3164cat'"),
        ("\uff43at", r"'\uff43at'"),  # full width
    ],
)
def test_names_that_look_alike_are_shown_by_their_codes(other: str, shown: str) -> None:
    (note,) = look_alikes(("cat", other), single=True)
    assert note == f"classes that may be one, and are kept apart: 'cat' and {shown}"


def test_names_in_other_alphabets_are_no_twins() -> None:
    assert (
        look_alikes(
            ("\u043b\u0435\u0441", "\u0440\u0435\u043a\u0430", "\u6c34", "\u03c0\u03b5\u03cd\u03ba\u03bf"), single=True
        )
        == []
    )


def test_texts_that_share_a_part_may_be_several_labels() -> None:
    (note,) = look_alikes(("cat;dog", "cat", "Land, mixed", "Water, deep"), single=True)
    assert note == "each of these texts is one class: 'cat;dog'; --separator ';' makes several labels of it"
    assert look_alikes(("a,b", "b,c"), single=True)[0].startswith("each of these texts is one class: 'a,b'; 'b,c'")


def test_numbers_written_otherwise_may_be_one_class_and_a_sign_makes_two() -> None:
    (note,) = look_alikes(("1", "1e0", "+1", "-1", "2", "\uff12", "1_0", "10"), single=True)
    assert note == "classes that may be one, and are kept apart: '1' and '1e0' and '+1'; '2' and '\\uff12'"
