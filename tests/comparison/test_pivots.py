"""Settings over two axes: the thesis' tables A.1 and A.2 and its bars, from its own published numbers."""

from pathlib import Path

import pytest
from support.small_sweeps import seeded

from search_spaces.thesis_grid import SPACE as THESIS
from sweep.comparison.dataset_report import DataSetReport, dataset_report, dataset_reports
from sweep.comparison.pivots import pivot_tables
from sweep.comparison.ranking import compare
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import class_words, metric_words
from sweep.planning.expansion import needs
from sweep.planning.plan import extend, make_plan
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import TrialEntry, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import TrialResult
from sweep.report.comparison_figures import comparison_figures
from sweep.report.costs_and_failures import cost, data_facts, troubles
from sweep.report.linked_pages import write_page
from sweep.report.page_tables import pivot_rows
from trainables.data.store import ImageStore
from trainables.storage.trial_records import AttemptRecord, FailureRecord


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> SweepStorage:
    return SweepStorage(tmp_path_factory.mktemp("thesis"))


@pytest.fixture(scope="module")
def parts(storage: SweepStorage) -> tuple[DataSetReport, DataSetReport]:
    """The parts of a report in which every trial got what the thesis published for it."""
    sizes = {
        "tiny_imagenet": DataSize(100_000, 10_000, 200, "aa", "prepared"),
        "bigearthnet_v1": DataSize(109_830, 36_610, 43, "bb", "prepared"),
    }
    plan = make_plan(THESIS, assignments={}, size_of=sizes.__getitem__)
    (best,) = needs(plan.pending[0], {})
    plan = extend(plan, {best: 0.25}, size_of=sizes.__getitem__)
    sweep = describe(plan, name="mine", command="", commit=None, versions={})

    def published(entry: TrialEntry) -> TrialResult:
        rows = [row for row in sweep.published if all(entry.config[name] == v for name, v in row.setting.items())]
        metrics = dict(rows[0].metrics) if rows and entry.baseline is None else {}
        metrics.setdefault("test/top1", metrics.get("test/accuracy", 0.1))
        return TrialResult("finished", metrics, int(entry.config["epochs"]), 1.0)

    outputs = TrialOutputs(storage)
    tiny, farmland = (dataset_report(sweep, table, storage, outputs) for table in compare(sweep, published))
    return tiny, farmland


def test_the_thesis_tables_over_training_length_and_batch_size(parts: tuple[DataSetReport, DataSetReport]) -> None:
    found = {
        crossed["title"]: crossed for crossed in pivot_rows(parts[0]) if crossed["corner"] == "batch size \\ epochs"
    }
    assert list(found) == [
        "top-1 accuracy (linear probe, test split); temperature 0.25 (%)",
        "top-5 accuracy (linear probe, test split); temperature 0.25 (%)",
    ]
    tables = {
        "A.1": [("256", [32.26, 37.33, 41.05, 39.6]), ("1024", [29.1, 34.32, 39.62, 41.66])],
        "A.2": [("256", [58.08, 64.93, 68.62, 68.29]), ("1024", [54.65, 60.03, 65.24, 68.17])],
    }
    for crossed, expected in zip(found.values(), tables.values(), strict=True):
        assert crossed["columns"] == ["50", "100", "200", "400"]
        shown = dict(crossed["rows"])
        assert list(shown) == ["256", "1024", "2048"]
        for name, values in expected:
            assert [float(cell["value"]) for cell in shown[name]] == values
            assert [float(cell["published"]) for cell in shown[name]] == values
        assert [cell["value"] != "" for cell in shown["2048"]] == [True, False, False, False]


def test_the_thesis_bars(parts: tuple[DataSetReport, DataSetReport]) -> None:
    figures = {name: figure for name, figure, _ in comparison_figures(parts[0])}
    assert {"bars_batch_size_temperature", "bars_epochs_batch_size", "bars_epochs_batch_size_top5"} <= figures.keys()
    axes = figures["bars_batch_size_temperature"].axes[0]
    assert sorted(round(100 * bar.get_height(), 2) for bar in axes.patches) == [18.05, 18.85, 26.38, 26.47, 29.1, 32.26]
    diamonds = sorted(round(100 * float(line.get_ydata()[0]), 2) for line in axes.lines if line.get_marker() == "D")
    assert diamonds == [18.05, 18.85, 26.38, 26.47, 29.1, 32.26]
    names = {name for name, _, _ in comparison_figures(parts[1])}
    assert {"bars_batch_size_temperature_sensitivity", "bars_batch_size_temperature_specificity"} <= names


def test_pivot_tables_hold_the_other_axes_where_most_settings_are(parts: tuple[DataSetReport, DataSetReport]) -> None:
    found = {(one.x, one.group): one for one in pivot_tables(parts[0].table, "test/top1")}
    assert found["batch_size", "temperature"].fixed_axes == "epochs 50"
    assert len(found["batch_size", "temperature"].cells) == 6
    assert found["epochs", "batch_size"].fixed_axes == "temperature 0.25"
    assert found["epochs", "batch_size"].xs == ["50", "100", "200", "400"]
    assert found["epochs", "batch_size"].groups == ["256", "1024", "2048"]
    assert list(pivot_tables(parts[0].table, "test/none")) == []


def test_costs_and_failures_are_said(parts: tuple[DataSetReport, DataSetReport], storage: SweepStorage) -> None:
    part = parts[0]
    assert cost(part) == "0.0 s of worker time in all, every attempt counted"
    assert troubles(part) == []
    entry = part.table.settings[0].trials[0].entry
    files = storage.trial_of(entry)
    hour = 3_600_000
    files.write_attempt(
        AttemptRecord(number=1, sweep="mine", started_ms=0, ended_ms=hour, outcome="crash", message="fell")
    )
    files.write_attempt(AttemptRecord(number=2, sweep="mine", started_ms=hour, ended_ms=3 * hour, outcome="finished"))
    files.write_failure(FailureRecord(time_ms=0, kind="crash", message="fell"))
    (part, _) = dataset_reports(parts[0].sweep, storage)
    assert cost(part) == (
        "3 h 00 min of worker time in all, every attempt counted; 1 h 00 min of it in attempts that failed"
    )
    (row,) = troubles(part)
    assert (row["trial"], row["status"], row["before"], row["attempts"], row["lost"]) == (
        entry.name,
        "failed",
        "crash",
        2,
        "1 h 00 min",
    )
    assert row["why"] == "crash: fell"


def test_data_facts_are_shares_of_each_split(store: ImageStore, patches: ImageStore) -> None:
    facts = data_facts(store.info)
    rows = dict(facts["rows"])
    train, test = store.info.splits["train"], store.info.splits["test"]
    count = int((store.labels(store.split("test")) == 0).sum())
    assert rows[store.info.class_names[0]][1] == f"{count:,} ({count / test:.1%})"
    assert all(cells[0].endswith("%)") for cells in rows.values())
    assert sum(int(rows[name][0].split()[0].replace(",", "")) for name in store.info.class_names) == train
    assert "no image or near duplicate is in two splits" in facts["notes"] or store.info.leaks.described()
    farmland = dict(data_facts(patches.info)["rows"])["rule farmland"]
    assert farmland[0].startswith(f"{patches.info.rule_counts['farmland']['train']:,} (")


def test_a_rule_gives_the_classes_their_names() -> None:
    assert class_words(("negative", "positive"), {"target": "positive", "positive": ["farmland"]}) == (
        "not farmland",
        "farmland",
    )
    long = {"target": "positive", "positive": ["Complex cultivation patterns", "Non-irrigated arable land"]}
    assert class_words(("negative", "positive"), long) == ("negative", "positive")
    assert class_words(("a", "b"), {"target": "classes"}) == class_words(("a", "b"), None) == ("a", "b")


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/centroid_top1", "top-1 accuracy (nearest class mean, test split)"),
        ("test/knn200_top1", "top-1 accuracy (200 nearest neighbours, test split)"),
        ("val/feature_rank", "feature rank (validation split)"),
        ("test/linear_brier_scaled", "Brier score after temperature scaling (logistic regression, test split)"),
        ("val/linear_regularisation", "penalty (regression on frozen features, validation split)"),
    ],
)
def test_metrics_of_other_methods_have_words(metric: str, words: str) -> None:
    assert metric_words(metric) == words


def test_the_page_has_a_place_for_each(
    parts: tuple[DataSetReport, DataSetReport], storage: SweepStorage, tmp_path: Path
) -> None:
    page = write_page(dataset_reports(parts[0].sweep, storage), storage, tmp_path, pictures=False).read_text()
    for dataset in ("tiny_imagenet", "bigearthnet_v1"):
        for place in ("", "-settings", "-pictures", "-trials", "-cost", "-data"):
            assert f'href="#{dataset}{place}"' in page
            assert f'id="{dataset}{place}"' in page
    assert '<p class="warn">SELECTED ON TEST' in page
    assert page.index('<p class="warn">SELECTED') < page.index('<div class="answer">') < page.index("<nav")
    assert "◇: thesis 2022:K19" in page
    assert "after the slash" not in page


def test_sets_of_bands_ascend_by_their_size_and_all_is_last() -> None:
    sets = ([], ["B04", "B03", "B02", "B08"], ["B04", "B03", "B02"])
    sweep, found = seeded({0.1: [0.5], 0.2: [0.6], 0.5: [0.7]})
    settings = [entry for entry in sweep.trials if entry.baseline is None]
    trials = [
        entry.model_copy(update={"config": {**entry.config, "temperature": 0.5, "bands": bands}})
        for entry, bands in zip(settings, sets, strict=True)
    ]
    (table,) = compare(sweep.model_copy(update={"trials": tuple(trials)}), lambda entry: found[entry.trial_id])
    (pivot,) = pivot_tables(table, "val/knn_top1")
    assert pivot.xs == ["RGB", "10 m", "all"]
