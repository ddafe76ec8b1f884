"""Labels of field points: each chip takes those of the points that it contains, at their dates."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform
from support.products import LEFT, TOP, write_product
from support.stores import of_noise

from sweep.data import main
from sweep.maps.point_projection import projected
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.field_points import chips_around
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare
from trainables.data.sources.table import TableRow
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

UTM = "EPSG:32634"


def degrees(*places: tuple[float, float], crs: str = UTM) -> list[tuple[float, float]]:
    """Return longitude and latitude of places in a CRS."""
    across, down = transform(crs, "EPSG:4326", *zip(*places, strict=True))
    return list(zip(across, down, strict=True))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of 5 x 5 places, and a tile of another zone."""
    root = tmp_path_factory.mktemp("scenes")
    for seed, date in enumerate(("20230613", "20230813")):
        write_product(root, date=date, seed=seed)
    write_product(root, tile="T35VLK", seed=5, crs=CRS.from_epsg(32635))
    return root


@pytest.fixture
def pool(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    prepare("scenes", source=scenes, root=tmp_path, store_name="pool", reader=read_scenes, chip_size=24, pixels="none")
    return ImageStore.open("pool", tmp_path)


def label(header: str, rows: list[str], *options: str) -> ImageStore:
    Path("points.csv").write_text("\n".join([header, *rows]))
    run("label", "pool", "--table", "points.csv", *options)
    return ImageStore.open("pool.labels", Path.cwd())


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_chips_take_the_mean_of_their_points_against_a_slow_oracle(pool: ImageStore) -> None:
    random = np.random.default_rng(0)
    places = [(LEFT + x, TOP - y) for x, y in random.uniform(-300.0, 1500.0, (200, 2)).tolist()]
    points, values = (
        degrees(*places[:140]) + degrees(*places[140:], crs="EPSG:32635"),
        random.uniform(1.0, 9.0, 200).round(3).tolist(),
    )
    rows = [f"{lon:.9f},{lat:.9f},{value}" for (lon, lat), value in zip(points, values, strict=True)]
    found = label("longitude,latitude,tons", rows, "--column", "label=tons", "--number")
    chips = pool.chips(range(len(pool))) or []
    expected: dict[int, list[float]] = defaultdict(list)
    for (lon, lat), value in zip(points, values, strict=True):
        for number, chip in enumerate(chips):
            (x,), (y,) = transform("EPSG:4326", chip.crs, [lon], [lat])
            across, down = chip.centre
            if abs(x - across) <= 120.0 and abs(y - down) <= 120.0:
                expected[number].append(value)
    numbers = found.numbers(range(len(pool))).numpy()
    assert {number for number in range(len(pool)) if not np.isnan(numbers[number])} == set(expected)
    assert len({chips[number].crs for number in expected}) == 2
    assert max(map(len, expected.values())) > 1
    for number, own in expected.items():
        assert numbers[number] == pytest.approx(np.mean(own), abs=1e-12)


def middle(pool: ImageStore, number: int = 0) -> str:
    """Return longitude and latitude of the middle of a place in the first zone, as text."""
    chips = [chip for chip in pool.chips(range(len(pool))) or [] if chip.crs == UTM and chip.date == "2023-06-13"]
    ((lon, lat),) = degrees(chips[number].centre)
    return f"{lon:.9f},{lat:.9f}"


def labelled_dates(store: ImageStore) -> list[str]:
    rows = np.flatnonzero(store.labelled(range(len(store))))
    return sorted(chip.date for chip in store.chips(rows) or [] if chip.crs == UTM)


def test_a_date_names_the_chips_of_a_place(pool: ImageStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a date all dates of the place are labelled, and that is said."""
    rows = [
        f"{middle(pool, 3)},oak,2023-08-13",
        f"{middle(pool, 7)},birch,20230613",
        f"{middle(pool, 9)},birch,2022-01-01",
        f"{middle(pool, 11)},oak,",
        f"{middle(pool, 12)},,2023-06-13",
        "21.0,12.0,oak,2023-06-13",
    ]
    found = label("longitude,latitude,label,date", rows)
    assert labelled_dates(found) == ["2023-06-13"] * 2 + ["2023-08-13"] * 2
    said = capsys.readouterr().out
    assert "points: 6, of which 3 lie in" in said
    assert "points that label chips of several dates: 1; a column date names one" in said
    assert "points in no chip: 1 (lines 7)" in said
    assert "points of a date that no chip there has: 1 (lines 4)" in said
    assert "points with an empty label: 1" in said
    assert found.info.decisions["points"].startswith("6, of which 3 lie in")


def test_points_of_one_chip_that_disagree_leave_it_unlabelled(
    pool: ImageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three = (middle(pool, number) for number in (3, 7, 12))
    rows = [f"{one},oak", f"{one},birch", f"{two},birch", f"{two},birch", f"{three},oak"]
    found = label("longitude,latitude,label", rows)
    said = capsys.readouterr().out
    assert "; each takes the class on which they agree" in said
    assert "chips whose points disagree, which stay unlabelled: " in said
    assert len(labelled_dates(found)) == 4
    run("label", "pool", "--table", "points.csv", "--name", "several", "--separator", "|")
    assert "each takes all of their labels" in capsys.readouterr().out
    several = ImageStore.open("pool.several", Path.cwd())
    assert len(labelled_dates(several)) == 6
    counts = several.label_matrix(range(len(several))).sum(1)[several.labelled(range(len(several)))]
    assert set(counts.tolist()) == {1, 2}


def test_a_point_between_neighbours_is_in_one_chip_and_overlapping_chips_share_theirs(
    scenes: Path, pool: ImageStore, tmp_path: Path
) -> None:
    chips = [chip for chip in pool.chips(range(len(pool))) or [] if chip.crs == UTM and chip.date == "2023-06-13"]
    rows = [TableRow("t", "", ("a",), None, "", point) for point in [(21.0, 63.0)] * 3]
    places = [(LEFT + 240.0, TOP - 240.0), (LEFT, TOP), (LEFT + 1200.0, TOP - 10.0)]
    found = chips_around(rows, chips, lambda crs, lon, lat: tuple(np.array(places).T))  # type: ignore[arg-type]
    lefts = [[chips[number].transform[2] for number in own] for own in found]
    assert lefts == [[LEFT + 240.0], [LEFT], []]
    prepare(
        "scenes",
        source=scenes,
        root=tmp_path,
        store_name="dense",
        reader=read_scenes,
        chip_size=24,
        stride=12,
        pixels="none",
        splits="random",
    )
    dense = [c for c in ImageStore.open("dense", tmp_path).chips(range(81)) or [] if c.date == "2023-06-13"]
    inner = degrees((LEFT + 610.0, TOP - 610.0))
    (own,) = chips_around([TableRow("t", "", ("a",), None, "", inner[0])], dense, projected)
    assert len(own) == 4


@pytest.mark.parametrize(
    ("header", "row", "options", "message"),
    [
        (
            "lon,lat,label",
            "21.0,63.1,oak",
            (),
            r"no column 'path' among .* --column longitude=NAME --column latitude=N",
        ),
        ("longitude,lat,label", "21.0,63.1,oak", ("--column", "longitude=longitude"), r"no column 'latitude' among"),
        ("longitude,latitude,label", "63.0001,21.0,oak", (), "lies in a chip of pool .* seem to be swapped"),
        ("longitude,latitude,label", "100.0,12.0,oak", (), r"lies in a chip of pool \(longitude 2.*WGS 84$"),
        (
            "longitude,latitude,label",
            '"21,5",63.1,oak',
            (),
            r"points.csv:2: column 'longitude': '21,5' is no lon",
        ),
        ("longitude,latitude,label", "21.0,190,oak", (), r"'190' is no latitude in degrees, from -90 to 90"),
        ("longitude,latitude,label", "nan,63.0,oak", (), "'nan' is no longitude"),
        ("longitude,latitude,label", ",63.0,oak", (), "'' is no longitude"),
        ("longitude,latitude,label", "21.0,63.0,", (), "all 1 points have an empty label"),
        ("longitude,latitude,label,date", "{middle},oak,2023-02-30", (), "'2023-02-30' is no date; write it as"),
        (
            "longitude,latitude,label,date",
            "{middle},oak,2020-06-13",
            (),
            "none of them at its date .*2023-06-13, ",
        ),
        (
            "longitude,latitude,path,label",
            "{middle},x,oak",
            ("--column", "path=path", "--column", "date=d"),
            "path is for images, longitude, latitude and date are for points",
        ),
        ("longitude,latitude,label", "{middle},oak", ("--column", "split=label"), "meanings: path, label, longitude"),
    ],
)
def test_points_that_make_no_sense_are_refused(
    header: str, row: str, options: tuple[str, ...], message: str, pool: ImageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("points.csv").write_text(f"{header}\n{row.replace('{middle}', middle(pool))}\n")
    with pytest.raises(SystemExit):
        main(["label", "pool", "--table", "points.csv", *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line


def test_a_store_without_chips_takes_paths_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    of_noise(tmp_path, each=2)
    (tmp_path / "p.csv").write_text("longitude,latitude,label\n21,63,a\n")
    with pytest.raises(BadInputError, match="has points, and noise has no chips with coordinates, which scenes have"):
        attach_labels(LabelRequest("noise", tmp_path / "p.csv"), tmp_path)
