"""Label sets beside a store: classes, several labels and numbers, what doesn't meet, and what stays as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweep.data import main
from trainables.config import TrialConfig
from trainables.data.preparing.label_set import LabelRequest, LabelSet, attach_labels
from trainables.data.preparing.prepare import prepare, remove
from trainables.data.preparing.verify import verify
from trainables.data.store import ImageStore
from trainables.data.store_format import PIXELS_FILE, ROWS_FILE
from trainables.data.store_info import prepared
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError

IMAGES = 40


@pytest.fixture
def pool(tmp_path: Path) -> ImageStore:
    """Forty images without labels, in no folder."""
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        image = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / f"{number:02d}.png")
    prepare("folder", source=tmp_path / "in", root=tmp_path, store_name="pool")
    return ImageStore.open("pool", tmp_path)


def attach(folder: Path, rows: list[str], header: str = "path,label", **fields: Any) -> LabelSet:
    table = folder / "table.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    return attach_labels(LabelRequest("pool", table, **fields), folder)


def test_classes_are_attached_beside_the_pixels_and_the_store_stays(pool: ImageStore, tmp_path: Path) -> None:
    before = (pool.path / ROWS_FILE).read_bytes()
    found = attach(tmp_path, [*(f"{n:02d}.png,{'ab'[n % 2]}" for n in range(30)), "30.png,", "x.png,a"], name="kind")
    assert found.only_in_table == ("x.png",)
    assert found.only_in_store == tuple(f"{number}.png" for number in range(31, 40))
    assert "images in the table and not in the store: 1 (x.png)" in found.lines()
    labelled = ImageStore.open("pool.kind", tmp_path)
    assert (labelled.info.class_names, labelled.info.labelled_images) == (("a", "b"), 30)
    everyone = np.arange(IMAGES)
    expected = [int(name[:2]) % 2 if int(name[:2]) < 30 else -1 for name in labelled.names(everyone)]
    assert labelled.labels(everyone).tolist() == expected
    assert (labelled.images(everyone) == pool.images(everyone)).all()
    assert labelled.split("test").tolist() == pool.split("test").tolist()
    assert (labelled.path / PIXELS_FILE).stat().st_ino == (pool.path / PIXELS_FILE).stat().st_ino
    assert verify("pool.kind", tmp_path).fingerprint == labelled.fingerprint != pool.fingerprint
    assert (pool.path / ROWS_FILE).read_bytes() == before
    assert ImageStore.open("pool", tmp_path).fingerprint == pool.fingerprint
    remove("pool", tmp_path)
    assert ImageStore.open("pool.kind", tmp_path).images(everyone).shape[0] == IMAGES


def test_label_sets_live_beside_each_other_and_the_same_one_is_known(pool: ImageStore, tmp_path: Path) -> None:
    rows = [f"{n:02d}.png,{'ab'[n % 2]}" for n in range(30)]
    first = attach(tmp_path, rows, name="one")
    assert first.made
    assert not attach(tmp_path, rows, name="one").made
    other = attach(tmp_path, [row.replace(",a", ",c") for row in rows], name="two")
    with pytest.raises(BadInputError, match=r"pool\.one: has other labels already; choose another --name, or remove"):
        attach(tmp_path, rows[:20], name="one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(tmp_path))
        with pytest.raises(BadInputError, match=r"type: python -m sweep\.data label pool --table FILE --name three$"):
            prepared("pool.three")
    config = TrialConfig.parse({"dataset": "pool", "evaluation_dataset": "pool.one", "batch_size": 8})
    ids = {config.trial_id(f"{pool.fingerprint}+{own.info.fingerprint}") for own in (first, other)}
    assert len(ids) == 2
    data = TrialData(config, pool, ImageStore.open("pool.one", tmp_path))
    assert len(data.train) == pool.info.splits["train"]
    assert len(data.bank) == first.info.labelled["train"]


def test_several_labels_and_numbers(pool: ImageStore, tmp_path: Path) -> None:
    several = attach(tmp_path, [f"{n:02d}.png,{'a|b' if n % 2 else 'b'}" for n in range(20)], separator="|")
    assert several.info.name == "pool.labels"
    assert several.info.multi_label
    matrix = ImageStore.open("pool.labels", tmp_path).label_matrix(np.arange(2))
    assert matrix.tolist() == [[False, True], [True, True]]
    rows = [f"{number:02d}.png,{number / 4}" for number in range(20)]
    found = attach(tmp_path, rows, "path,tons", name="yield", columns={"label": "tons"}, number=True)
    store = ImageStore.open("pool.yield", tmp_path)
    assert (store.info.number, store.info.class_names, store.info.labelled_images) == ("tons", (), 20)
    assert "'tons': 0 to 4.75, mean 2.375" in store.info.decisions["classes"]
    values = store.numbers(np.arange(IMAGES)).numpy()
    np.testing.assert_array_equal(values[:20], np.arange(20) / 4)
    assert np.isnan(values[20:]).all()
    np.testing.assert_array_equal(store.labelled(np.arange(IMAGES)), np.arange(IMAGES) < 20)
    assert verify("pool.yield", tmp_path).fingerprint == found.info.fingerprint
    changed = attach(tmp_path, [*rows[:-1], "19.png,5"], "path,tons", name="b", columns={"label": "tons"}, number=True)
    assert changed.info.fingerprint != found.info.fingerprint
    with pytest.raises(BadInputError, match="pool: has no number per image; attach numbers"):
        pool.numbers([0])


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        (["x.png,a"], {}, r"none of its images \(x\.png\) is in pool \(00\.png, 01\.png"),
        (["00.png,a", "00.png,b"], {}, r"table\.csv:3: 00\.png is named twice"),
        (["00.png,"], {}, r"no image of pool has a label in it; fill the column 'label'"),
        (["00.png,1.5", "01.png,2"], {}, r"labels are numbers \(1\.5\); add --number"),
        (["00.png,high"], {"number": True}, r"table\.csv:2: 'high' is not a number; correct it"),
        (["00.png,inf"], {"number": True}, r"'inf' is not a number"),
        (["00.png,1_000"], {"number": True}, r"'1_000' is not a number"),
        (["00.png,2.5 t/ha"], {"number": True}, r"'2\.5 t/ha' is not a number"),
        (['00.png,"2,5"'], {"number": True}, r"'2,5' is not a number; write decimals after a point"),
        (['00.png,"2,5"', "01.png,3"], {}, r"labels are numbers \(2,5\); add --number"),
        (["00.png,1e300"], {"number": True}, r"table\.csv:2: '1e300' is larger than 1e\+15; take another unit"),
        (["00.png,3", "01.png,3"], {"number": True}, r"table\.csv: column 'label' has one number, 3, for all images"),
        (["00.png,1|2"], {"number": True, "separator": "|"}, r"--separator '\|': an image has one number; leave out"),
        (["in/00.PNG,1"], {"number": True}, r"'in/00\.PNG' is no image of the store \(it has '00\.png'\)"),
        (["00.png,a"], {"name": "../x"}, r"data set name 'pool\.\.\./x'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    rows: list[str], fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=message):
        attach(tmp_path, rows, **fields)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("pool")) == ["pool"]


@pytest.mark.usefixtures("pool")
def test_an_image_in_another_spelling_and_numbers_that_may_be_missing_are_said(tmp_path: Path) -> None:
    found = attach(tmp_path, ["00.PNG,1", "01.png,2.5", "02.png,-9999"], number=True)
    assert found.lines()[-1] == "'00.PNG' is no image of the store (it has '00.png')"
    assert found.info.decisions["classes"].endswith("; -9999 (rows: 1) may stand for a missing number")


@pytest.mark.usefixtures("pool")
def test_the_command_counts_and_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,species\n" + "".join(f"{n:02d}.png,{'ab'[n % 2]}\n" for n in range(39)) + "y.png,a\n")
    with pytest.raises(SystemExit) as ended:
        main(["label", "pool", "--table", str(table), "--column", "label=species", "--root", str(tmp_path)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "pool.labels: labelled, 39 of 40 images (" in said
    assert "2 classes by column 'species' of t.csv" in said
    assert "images in the table and not in the store: 1 (y.png)" in said
    assert "images in no row: 1 (39.png)" in said
    assert "--dataset pool.labels" in said


@pytest.mark.usefixtures("pool")
def test_texts_that_may_hold_several_labels_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label\n00.png,wheat|rye\n01.png,wheat|rye\n")
    with pytest.raises(SystemExit) as ended:
        main(["label", "pool", "--table", str(table), "--root", str(tmp_path)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "1 class by column 'label'" in said
    assert "each of these texts is one class: 'wheat|rye'; --separator '|' makes several labels of it" in said
