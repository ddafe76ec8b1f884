"""Names of BigEarthNet patches, v1.0 and v2, over the whole official lists."""

import bz2

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.sample_data import sample_folder

from trainables.data import splits
from trainables.data.patch_names import tile_position
from trainables.data.preparing.leaks import find_leaks


def v1_names() -> list[str]:
    names: set[str] = set()
    for path in sample_folder("bigearthnet-metadata").glob("*.csv*"):
        text = bz2.decompress(path.read_bytes()).decode() if path.suffix == ".bz2" else path.read_text()
        names.update(line.split(",")[0] for line in text.splitlines() if line)
    return sorted(names)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("S2A_MSIL2A_20170613T101031_0_45", ("S2A_MSIL2A_20170613T101031", 0, 45)),
        ("S2A_MSIL2A_20170905T95032_10_38", ("S2A_MSIL2A_20170905T95032", 10, 38)),
        (
            "S2B_MSIL2A_20180204T094159_N9999_R036_T34UEG_05_90",
            ("S2B_MSIL2A_20180204T094159_N9999_R036_T34UEG", 5, 90),
        ),
        ("farmland/S2A_MSIL2A_20170905T95032_10_38.png", ("S2A_MSIL2A_20170905T95032", 10, 38)),
        ("S2A_MSIL2A_20170905T9503_10_38", None),
        ("S2A_MSIL2A_20170905T95032_10", None),
        ("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39", None),
        ("AnnualCrop_1.jpg", None),
    ],
)
def test_a_patchs_name_says_its_tile_row_and_column(name: str, position: tuple[str, int, int] | None) -> None:
    assert tile_position(name) == position


def test_every_official_name_of_v1_is_recognised_and_has_one_of_125_acquisitions() -> None:
    positions = [tile_position(name) for name in v1_names()]
    assert len(positions) == 590_326
    assert None not in positions
    assert len({position[0] for position in positions if position}) == 125
    assert len(set(positions)) == 590_326


def test_v2_says_of_each_patch_what_its_name_in_v1_says() -> None:
    folder, columns = sample_folder("bigearthnet-metadata"), ["patch_id", "s2v1_name"]
    for table in ("v2_metadata.parquet", "v2_metadata_for_patches_with_snow_cloud_or_shadow.parquet"):
        for row in pq.read_table(folder / table, columns=columns).to_pylist():
            new, old = tile_position(row["patch_id"]), tile_position(row["s2v1_name"])
            assert new is not None
            assert old is not None
            assert new[1:] == old[1:]


@pytest.mark.slow
def test_the_thesis_split_has_its_neighbours_counted() -> None:
    names = [name for name in v1_names() if splits.is_thesis_candidate(name)]
    codes = splits.thesis_split(names, 590_326)
    kept = np.flatnonzero(codes != splits.LEFT_OUT).tolist()
    leaks = find_leaks(
        names=[names[row] for row in kept],
        splits=[splits.SPLITS[codes[row]] for row in kept],
        content=np.arange(len(kept)).astype("V8"),
        hashes=np.zeros(len(kept), np.uint64),
        tiles=[tile_position(names[row]) for row in kept],
        pixels=lambda rows: np.zeros((len(rows), 1, 1, 1), np.uint8),
    )
    assert leaks.neighbours == 29_213
