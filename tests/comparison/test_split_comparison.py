"""Settings on a random and on a spatial split of the same images: which stores are compared, values and intervals."""

import csv
import html
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.small_sweeps import seeded
from support.written_sweeps import space_of, write_sweep

from sweep.compare import main
from sweep.comparison.cells import ComparisonCells
from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.merged_sweeps import merged_sweeps
from sweep.comparison.pool_leaks import PoolLeaks
from sweep.comparison.ranking import compare
from sweep.comparison.split_comparison import SplitComparison, _row, reported_splits
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.report.csv_tables import split_rows
from sweep.report.json_tables import comparison_value
from sweep.report.terminal_table import print_splits
from sweep.statistics.image_metrics import outputs_of
from sweep.statistics.intervals import seed_interval
from sweep.statistics.metric_intervals import sampling_interval
from sweep.statistics.share_intervals import ConfidenceInterval, score_interval, unpaired_interval
from trainables.data.preparing.prepare import prepare
from trainables.data.preparing.store_leaks import StoreLeaks
from trainables.data.store_info import LeakCounts

METRIC = "test/knn_top1"


def write_pictures(root: Path) -> None:
    random = np.random.default_rng(0)
    (root / "in").mkdir(parents=True)
    lines = ["path,label,place"]
    for number in range(150):
        Image.fromarray(random.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(root / "in" / f"{number:03d}.png")
        lines.append(f"{number:03d}.png,{'ab'[number % 2]},place {number // 10}")
    (root / "table.csv").write_text("\n".join(lines))


def make_store(root: Path, name: str, splits: str, size: int | None = None) -> None:
    prepare(
        "folder",
        source=root / "in",
        table=root / "table.csv",
        root=root / "data",
        store_name=name,
        splits=splits,
        image_size=size,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps of the same settings, on a random split and by place, and one on other pixels."""
    root = tmp_path_factory.mktemp("splits")
    write_pictures(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(root / "data"))
        for name, rule, size in (("by_chance", "random", None), ("by_place", "place", None), ("small", "place", 4)):
            make_store(root, name, rule, size)
            space = space_of(2, seeds=2)
            space = replace(space, base={**space.base, "dataset": name, "positive": ("a",), "batch_size": 32})
            write_sweep(space, root / "sweeps", name=f"on-{name}")
    return root


@pytest.fixture
def found(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SplitComparison, ...]:
    monkeypatch.setenv("SWEEP_DATA", str(place / "data"))
    storage = SweepStorage(place / "sweeps")
    merged, _ = merged_sweeps(storage, ["on-by_chance", "on-by_place", "on-small"])
    return reported_splits([dataset_reports(one.record, storage, one.sources) for one in merged], storage)


def values(record: SweepRecord, storage: SweepStorage, temperature: float) -> dict[int, float]:
    own = [e for e in record.trials if e.baseline is None and e.config["temperature"] == temperature]
    return {e.config["seed"]: storage.trial_of(e).epochs()[-1].metrics[METRIC] for e in own}


def interval_over_images(record: SweepRecord, storage: SweepStorage, temperature: float) -> ConfidenceInterval:
    seeds = []
    for entry in record.trials:
        if entry.baseline is None and entry.config["temperature"] == temperature:
            table, final = storage.trial_of(entry).outputs("test"), storage.trial_of(entry).final()
            assert table is not None
            assert final is not None
            seeds.append(outputs_of(table, final.classes, final.positive, METRIC))
    interval = sampling_interval(METRIC, [one for one in seeds if one is not None])
    assert interval is not None
    return interval


def test_each_setting_stands_beside_itself_with_the_difference(place: Path, found: tuple[SplitComparison, ...]) -> None:
    """The store of smaller pictures is a spatial split of other images, and is beside nothing."""
    (one,) = found
    assert (one.random.dataset, one.random.rule) == ("by_chance", "random")
    assert (one.spatial.dataset, one.spatial.rule) == ("by_place", "place")
    assert one.metric == METRIC
    assert [row.label for row in one.rows if row.baseline] == ["raw pixels", "untrained encoder"]
    storage = SweepStorage(place / "sweeps")
    records = [storage.record(f"on-by_{name}") for name in ("chance", "place")]
    settings = [row for row in one.rows if not row.baseline]
    assert len(settings) == 2
    assert settings[0].spatial.mean >= settings[1].spatial.mean  # type: ignore[operator]
    for row in settings:
        temperature = float(row.label.removeprefix("temperature "))
        random, spatial = (values(record, storage, temperature) for record in records)
        expected = np.mean(list(random.values())) - np.mean(list(spatial.values()))
        assert row.difference == pytest.approx(float(expected))
        seeds = seed_interval([random[seed] - spatial[seed] for seed in random])
        assert row.seeds == pytest.approx(np.clip(seeds, -1.0, 1.0))  # type: ignore[call-overload]
        a, b = (interval_over_images(record, storage, temperature) for record in records)
        first, second = np.mean(list(random.values())), np.mean(list(spatial.values()))
        assert row.images is not None
        assert row.images.low == pytest.approx(expected - math.hypot(first - a.low, b.high - second))
        assert row.images.high == pytest.approx(expected + math.hypot(a.high - first, second - b.low))


def test_terminal_and_json_have_it(
    place: Path, found: tuple[SplitComparison, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps, storage = ["on-by_chance", "on-by_place"], str(place / "sweeps")
    main(sweeps, storage=storage)
    told = " ".join(capsys.readouterr().out.split())
    assert "Random beside spatial split: by_chance and by_place" in told
    first = found[0].rows[0]
    assert f"{100 * first.difference:+.2f}" in told
    assert "by_chance" in told.split("by_chance and by_place", 1)[1]
    assert r"\n" not in told
    main(sweeps, storage=storage, as_json=True)
    printed = json.loads(capsys.readouterr().out)["splits"]
    assert printed[0]["rows"][0]["difference"] == pytest.approx(first.difference)
    assert printed[0]["random"] == {"dataset": "by_chance", "rule": "random", "leaks": []}
    main(["on-small"], storage=storage)
    assert "spatial split" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_pages_of_both_sweeps_and_their_tables_have_it(
    place: Path, found: tuple[SplitComparison, ...], tmp_path: Path
) -> None:
    sweeps = ["on-by_chance", "on-by_place"]
    main(sweeps, storage=str(place / "sweeps"), html=tmp_path / "pages", pictures=False)
    first = found[0].rows[0]
    for name in sweeps:
        page = html.unescape((tmp_path / "pages" / name / "report.html").read_text())
        assert f"<h2>{found[0].title}</h2>" in page
        assert all(sentence in page for sentence in found[0].sentences)
        with (tmp_path / "pages" / name / "tables" / "splits.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["setting"] for row in rows] == [row.label for row in found[0].rows]
        assert float(rows[0]["difference"]) == pytest.approx(first.difference)
        assert float(rows[0]["images high"]) == pytest.approx(first.images.high)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("difference", "ends", "verdict"),
    [
        (
            0.06,
            (0.02, 0.1),
            "The random split is optimistic: +6.00 points (+2.0 to +10.0, 95 % interval over test images)",
        ),
        (0.01, (-0.02, 0.04), "It is open whether the random split is optimistic: +1.00 points (-2.0 to +4.0"),
        (-0.06, (-0.1, -0.02), "The random split isn't optimistic: -6.00 points (-10.0 to"),
    ],
)
def test_the_verdict_follows_the_interval(
    found: tuple[SplitComparison, ...], difference: float, ends: tuple[float, float], verdict: str
) -> None:
    row = replace(found[0].rows[0], difference=difference, images=ConfidenceInterval(*ends))
    one = replace(found[0], rows=(row, *found[0].rows[1:]))
    assert verdict in one.sentences[0]
    stream = io.StringIO()
    print_splits([one], Console(file=stream, width=200))
    assert verdict in " ".join(stream.getvalue().split())


def test_an_interval_over_seeds_that_are_not_the_same_is_of_the_difference_of_the_means() -> None:
    """The third seed failed on the spatial split: both others are better there, and the difference of means isn't."""
    rows = []
    for values in ([0.5, 0.51, 0.9], [0.52, 0.53, math.nan]):
        sweep, results = seeded({0.25: values})
        (table,) = compare(sweep, lambda entry, results=results: results[entry.trial_id])
        rows.append(table.settings[0])
    row = _row(*rows, "val/knn_top1", (), ComparisonCells(), sampled=False)
    assert row.difference == pytest.approx(0.1117, abs=1e-4)
    assert row.seeds is not None
    assert row.seeds.low < row.difference < row.seeds.high


def test_settings_that_are_equal_on_the_spatial_split_are_both_best_there(found: tuple[SplitComparison, ...]) -> None:
    first, second = (row for row in found[0].rows if not row.baseline)
    better = replace(second.random, mean=(first.random.mean or 0.0) + 0.1)
    for mean, said in (
        (first.spatial.mean, "On test the same setting is best"),
        (-1.0, "On test of the random split another"),
    ):
        other = replace(second, random=better, spatial=replace(second.spatial, mean=mean))
        assert any(one.startswith(said) for one in replace(found[0], rows=(first, other)).sentences)


def test_the_interval_of_an_unpaired_difference_holds_the_truth() -> None:
    """By simulation: 85 % of 150 images and 75 % of 120 others."""
    random = np.random.default_rng(0)
    covered = []
    for a, b in zip(random.binomial(150, 0.85, 2000), random.binomial(120, 0.75, 2000), strict=True):
        one, other = a / 150, b / 120
        found = unpaired_interval(one, score_interval(one, 150, 1.96), other, score_interval(other, 120, 1.96))
        covered.append(found.low <= 0.1 <= found.high)
    assert 0.935 <= np.mean(covered) <= 0.97


def test_a_split_whose_test_images_were_trained_on_is_marked(found: tuple[SplitComparison, ...]) -> None:
    counts = LeakCounts(identical=2, near_identical=1, neighbours=0, examples=("a is b",))
    leaks = StoreLeaks(tested=30, counts=counts, overlapping=0, footprints=(), not_compared="")
    store = replace(found[0].random, leaks=(PoolLeaks("by_chance", "by_chance", leaks, one_split=True),))
    one = replace(found[0], random=store)
    assert any(
        sentence.startswith("LEAKS: test images of by_chance recur among the training images")
        for sentence in one.sentences
    )
    stream = io.StringIO()
    print_splits([one], Console(file=stream, width=200))
    assert "by_chance LEAKS" in stream.getvalue()
    assert not any("LEAKS" in sentence for sentence in found[0].sentences)
    assert one.sentences[0].startswith("Temperature ")
    (value,) = comparison_value([], [], [], [one])["splits"]
    assert value["spatial"]["leaks"] == []
    assert [(leak["pool"], leak["identical"], leak["nearly_identical"]) for leak in value["random"]["leaks"]] == [
        ("by_chance", 2, 1)
    ]
    told = "2 identical to, 1 nearly identical to by_chance"
    assert all((row["leaks on random"], row["leaks on spatial"]) == (told, "") for row in split_rows([one]))
