"""Labels, published lists and splits of a store that is made of an archive."""

import bz2
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sample_data import (
    sample_folder,
    write_bigearthnet,
    write_bigearthnet_v2,
)
from support.stores import everything, made

from trainables.data import splits
from trainables.data.class_names import AGRICULTURE_43, LABELS_19, LABELS_43, THESIS_FARMLAND
from trainables.data.preparing.prepare import prepare
from trainables.data.stable_hash import stable_fraction
from trainables.errors import BadInputError

PATCHES = [["Sea and ocean"], ["Mixed forest", "Rice fields"], ["Pastures", "Vineyards"], ["Burnt areas"]] * 4
PATCHES_V2 = [["Marine waters"], ["Mixed forest", "Arable land"], ["Pastures"], ["Urban fabric", "Pastures"]] * 4


def test_the_19_labels_are_the_official_conversion_of_the_43(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, [[label] for label in LABELS_43])
    store = made("bigearthnet_v1", tmp_path / "out", source=folder, splits="random", labels="19")
    official = json.loads((sample_folder("bigearthnet-metadata") / "label_indices.json").read_text())
    expected = {}
    for label, parts in zip(official["BigEarthNet-19_labels"], official["label_conversion"], strict=True):
        expected |= dict.fromkeys((f"S2A_MSIL2A_20170613T101032_{part}_50" for part in parts), label)
    names, _, hot = everything(store)
    assert tuple(official["BigEarthNet-19_labels"]) == store.info.class_names
    assert {name: LABELS_19[row.argmax()] for name, row in zip(names, hot, strict=True)} == expected
    assert (hot.sum(axis=1) == 1).all()
    assert set(official["agricultural_43"]) == set(AGRICULTURE_43)


def test_farmland_as_label_set_keeps_the_patches_own_labels_beside_it(tmp_path: Path) -> None:
    labels = [["Mixed forest", THESIS_FARMLAND[0]], ["Sea and ocean"], [THESIS_FARMLAND[2]], ["Pastures"]] * 3
    folder = write_bigearthnet(tmp_path, labels)
    store = made("bigearthnet_v1", tmp_path / "out", source=folder, splits="random", labels="farmland")
    assert store.info.class_names == ("other", "farmland")
    names = store.names(range(len(store)))
    own = [labels[int(name.split("_")[-2])] for name in names]
    assert store.labels(range(len(store))).tolist() == [int(bool(set(THESIS_FARMLAND) & {*each})) for each in own]
    assert [sorted(each) for each in store._rows.column("original_labels").to_pylist()] == [sorted(e) for e in own]


def test_official_splits_and_lists_of_v1_from_beside_the_source(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, PATCHES)
    patches = sorted(path.name for path in folder.iterdir())
    lists = tmp_path / "splits"
    lists.mkdir()
    with pytest.raises(BadInputError, match=r"train\.csv: not found beside .*--lists FOLDER .published at https"):
        prepare("bigearthnet_v1", source=folder, root=tmp_path / "out", splits="official")
    (lists / "train.csv").write_text("\n".join(patches[:8]))
    (lists / "val.csv.bz2").write_bytes(bz2.compress("\n".join(patches[8:11]).encode()))
    (lists / "test.csv").write_text("\n".join([*patches[11:14], "S2A_elsewhere_0_0"]))
    (lists / "patches_with_seasonal_snow.csv").write_text(f"{patches[0]}\n{patches[15]}\n")
    options = {"splits": "official", "exclude": ("snow",)}
    store = made("bigearthnet_v1", tmp_path / "out", source=folder, **options)
    found = {name: store.names(store.split(name)) for name in store.info.splits}
    assert found == {"train": patches[1:8], "validation": patches[8:11], "test": patches[11:14]}
    assert "1 patches of the lists aren't in the source" in store.info.notes
    with pytest.raises(BadInputError, match=r"patches_with_cloud_and_shadow\.csv: not found"):
        prepare("bigearthnet_v1", source=folder, root=tmp_path / "other", exclude=("cloud",), splits="random")


def test_v2_takes_labels_and_splits_from_its_tables(tmp_path: Path) -> None:
    folder = write_bigearthnet_v2(tmp_path, PATCHES_V2)
    store = made("bigearthnet_v2", tmp_path / "out", source=folder)
    assert store.info.splits == {"train": 8, "validation": 3, "test": 3}  # without the two under snow
    names, _, hot = everything(store)
    for name, row in zip(names, hot, strict=True):
        assert {LABELS_19[column] for column in np.flatnonzero(row)} == set(PATCHES_V2[int(name.split("_")[-2])])
    whole = made("bigearthnet_v2", tmp_path / "whole", source=folder, splits="random")
    assert len(whole) == 16
    clear = made("bigearthnet_v2", tmp_path / "clear", source=folder, splits="random", exclude=("snow",))
    left_out = set(whole.names(range(16))) - set(clear.names(range(14)))
    assert {name.split("_")[-2] for name in left_out} == {"14", "15"}
    by_place = made("bigearthnet_v2", tmp_path / "place", source=folder, splits="place")
    places = {
        split: {n.rsplit("_", 2)[0] for n in by_place.names(by_place.split(split))} for split in ("train", "test")
    }
    assert not places["train"] & places["test"]
    assert by_place.info.leaks.neighbours == 0


def test_a_patch_that_v2s_tables_dont_have_is_refused(tmp_path: Path) -> None:
    folder = write_bigearthnet_v2(tmp_path, PATCHES_V2)
    table = pq.read_table(folder / "metadata.parquet")
    pq.write_table(table.slice(1), folder / "metadata.parquet")
    with pytest.raises(BadInputError, match="_00_50: in none of v2's tables"):
        prepare("bigearthnet_v2", source=folder, root=tmp_path / "out", splits="random")
    broken = table.set_column(table.schema.get_field_index("labels"), "labels", pa.array([["Wood"]] * len(table)))
    pq.write_table(broken, folder / "metadata.parquet")
    with pytest.raises(BadInputError, match="label \\['Wood'\\] is none of the 19"):
        prepare("bigearthnet_v2", source=folder, root=tmp_path / "out")


@pytest.mark.slow
def test_the_thesis_numbers_come_from_the_official_lists_of_names() -> None:
    folder = sample_folder("bigearthnet-metadata")
    names: set[str] = set()
    for path in (*folder.glob("*.csv"), *folder.glob("*.csv.bz2")):
        text = bz2.decompress(path.read_bytes()).decode() if path.suffix == ".bz2" else path.read_text()
        names.update(line.split(",")[0] for line in text.splitlines() if line)
    assert len(names) == 590_326
    candidates = [name for name in sorted(names) if splits.is_thesis_candidate(name)]
    codes = splits.thesis_split(candidates, len(names))
    assert (codes == splits.TRAIN).sum() == 109_830
    assert (codes == splits.TEST).sum() == 36_610
    # Of any other number it is a quarter, by the hashes alone.
    fewer = splits.thesis_split(candidates, len(names) - 1)
    assert (fewer == splits.LEFT_OUT).sum() == 0
    assert len(fewer) == pytest.approx(len(names) / 4, rel=0.005)
    assert (fewer == splits.TEST).mean() == pytest.approx(0.25, abs=0.005)
    # Those of smallest hash are kept, and of them those of smallest second hash are tested.
    subset, test = stable_fraction(candidates, salt="subset"), stable_fraction(candidates, salt="test")
    kept = codes != splits.LEFT_OUT
    assert subset[kept].max() < subset[~kept].min()
    assert test[codes == splits.TEST].max() < test[codes == splits.TRAIN].min()


def test_adding_images_moves_none_and_every_class_is_on_both_sides() -> None:
    names = [f"{label}_{number}.jpg" for label in range(20) for number in range(60)]
    labels = [(label,) for label in range(20) for _ in range(60)]
    whole = dict(zip(names, splits.random_split(names, labels, 0.2).tolist(), strict=True))
    share = sum(code == splits.TEST for code in whole.values()) / len(whole)
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / len(names)))
    some = [row for row in range(len(names)) if row % 3]
    half = splits.random_split([names[row] for row in some], [labels[row] for row in some], 0.2)
    assert half.tolist() == [whole[names[row]] for row in some]
    few = splits.random_split(["a", "b", "c", "d"], [(0,), (0,), (1,), (1,)], 1e-9)
    assert sorted(few[:2].tolist()) == sorted(few[2:].tolist()) == [splits.TRAIN, splits.TEST]
