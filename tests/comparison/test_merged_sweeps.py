"""Several sweeps as one comparison: what is ranked together, what isn't and why; the pages and frames of real ones."""

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from support.small_sweeps import SMALL_SPACE

from sweep.compare import load, main
from sweep.comparison.merged_sweeps import MergedSweep, merge_sweeps, merged_sweeps
from sweep.comparison.ranking import compare
from sweep.comparison.table import ComparisonTable
from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import SweepRecord, TrialEntry, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import TrialResult
from sweep.report.terminal_table import print_comparison
from sweep.space import Grid, PublishedResult, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.training.trial import train


def sweep_of(
    name: str, *temperatures: float, objective: str = "val/knn_top1", seeds: tuple[int, ...] = (0, 1), **changes: Any
) -> SweepRecord:
    """Return the record of a sweep over temperatures that nobody ran; `changes` of its base and record."""
    base = {"dataset": "tiny_imagenet", "validation_fraction": 0.1}
    record = {key: changes.pop(key) for key in tuple(changes) if key in ("caveats", "published", "published_source")}
    space = SearchSpace(
        name=name,
        description="temperatures",
        base={**base, **changes},
        stages=(Stage("grid", (Grid(axes={"temperature": temperatures}),)),),
        objective=RankingObjective(objective),
        columns=("test/top1",),
        seeds=seeds,
        baselines=("pixels",),
        **record,
    )
    plan = make_plan(space, assignments={}, size_of=lambda _: DataSize(100_000, 10_000, 200, "aa", "prepared"))
    return describe(plan, name=name, command=f"run {name}", commit="abc", versions={"python": "3.11"})


def together(
    *sweeps: SweepRecord, finished: Callable[[TrialEntry], bool] = lambda _: True
) -> tuple[list[MergedSweep], list[str]]:
    return merge_sweeps(sweeps, fingerprint=lambda entry: "aa", finished=finished)


def table_of(joint: MergedSweep, value: Callable[[TrialEntry], float]) -> ComparisonTable:
    def result(entry: TrialEntry) -> TrialResult:
        metrics = {joint.record.objective: value(entry), "test/top1": value(entry) - 0.1}
        return TrialResult("finished", metrics, int(entry.config["epochs"]), 1.0)

    (table,) = compare(joint.record, result, joint.sources)
    return table


def by_temperature(entry: TrialEntry) -> float:
    if entry.baseline is not None:
        return 0.2
    return (
        0.5 + entry.config["temperature"] / 10 + entry.config["seed"] / 1000 + (entry.config["batch_size"] == 512) / 100
    )


def test_settings_of_two_sweeps_stand_in_one_table_once() -> None:
    (joint,), apart = together(
        sweep_of("one", 0.1, 0.5), sweep_of("two", 0.5, 0.9, batch_size=512), sweep_of("three", 0.5, seeds=(1, 2))
    )
    assert apart == []
    assert joint.record.name == "one + two + three"
    table = table_of(joint, by_temperature)
    assert table.axes == ("batch_size", "temperature"), "what varies within, and what differs between"
    assert [
        (row.sweeps, row.config["batch_size"], row.config["temperature"], len(row.trials)) for row in table.settings
    ] == [
        ("two", 512, 0.9, 2),
        ("two", 512, 0.5, 2),
        ("one, three", 256, 0.5, 3),
        ("one", 256, 0.1, 2),
    ]
    assert [row.maybe_best for row in table.settings] == [True, False, False, False]
    assert [(row.label, row.sweeps) for row in table.baselines] == [("raw pixels", "one, two, three")]
    shared = table.settings[2]
    assert [trial.sweeps for trial in shared.trials] == [("one",), ("one", "three"), ("three",)]
    trials = [entry.trial_id for entry in joint.record.trials]
    assert len(trials) == len(set(trials))
    names = [entry.name for entry in joint.record.trials]
    assert len(names) == len(set(names)), "names that say only what varied in a sweep are told apart"
    stream = io.StringIO()
    print_comparison(joint.record, [table], console=Console(file=stream, width=200))
    assert re.search(r"sweep +batch size +temperature", stream.getvalue())
    assert re.search(r"one, three +256 +0.5", stream.getvalue())


def test_a_sweep_alone_is_as_ever() -> None:
    sweep = sweep_of("one", 0.1, 0.5)
    for sweeps in ([sweep], [sweep, sweep]):
        (joint,), apart = together(*sweeps)
        assert (joint.record, joint.sweeps, joint.sources, apart) == (sweep, ("one",), {}, [])
        table = table_of(joint, by_temperature)
        assert not table.of_several_sweeps
        assert table.settings[0].sweeps == ""


def test_trials_named_alike_are_told_apart_by_their_sweeps() -> None:
    (joint,), _ = together(sweep_of("one", 0.5), sweep_of("two", 0.5, jitter_strength=0.5))
    names = {entry.name for entry in joint.record.trials if entry.baseline is None}
    assert names == {f"tiny_imagenet-b256-t0.5-e50-s{seed}@{sweep}" for seed in (0, 1) for sweep in ("one", "two")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"objective": "test/top1"},
            "tiny_imagenet: one and two aren't ranked together: "
            "one by val/knn_top1 on the validation split, two by test/top1 on the test split",
        ),
        (
            {"target": "positive", "positive": ("n01",)},
            "tiny_imagenet: one and two aren't ranked together: what is asked of the labels isn't the same",
        ),
        ({"dataset": "eurosat"}, "no data set in common: one (tiny_imagenet), two (eurosat)"),
    ],
)
def test_what_cant_be_ranked_together_is_said(changes: dict[str, Any], said: str) -> None:
    one, two = sweep_of("one", 0.1, 0.5), sweep_of("two", 0.5, **changes)
    found, apart = together(one, two)
    assert [(joint.sweeps, joint.record) for joint in found] == [(("one",), one), (("two",), two)]
    assert said in apart


def test_a_data_set_of_the_same_name_has_to_be_the_same_images() -> None:
    one, two, waiting = sweep_of("one", 0.1), sweep_of("two", 0.5), sweep_of("waiting", 0.9)
    data = {entry.trial_id: name for sweep, name in ((one, "aa"), (two, "bb")) for entry in sweep.trials[1:]}
    found, apart = merge_sweeps(
        [one, two, waiting], fingerprint=lambda entry: data.get(entry.trial_id), finished=lambda _: True
    )
    assert [joint.sweeps for joint in found] == [("one", "waiting"), ("two",)]
    assert len(apart) == 1
    assert apart[0].endswith("the data set isn't the same: it was prepared differently")


def test_only_what_is_of_a_common_data_set_is_joined() -> None:
    both = SearchSpace(
        name="both",
        description="two data sets",
        base={"validation_fraction": 0.1},
        stages=(Stage("grid", (Grid(axes={"dataset": ("eurosat", "tiny_imagenet")}),)),),
        objective=RankingObjective("val/knn_top1"),
    )
    plan = make_plan(both, assignments={}, size_of=lambda _: DataSize(100_000, 10_000, 200, "aa", "prepared"))
    wide = describe(plan, name="both", command="", commit=None, versions={})
    found, apart = together(wide, sweep_of("one", 0.1))
    assert [joint.sweeps for joint in found] == [("both", "one"), ("both",)]
    assert {entry.config["dataset"] for entry in found[0].record.trials} == {"tiny_imagenet"}
    assert {entry.config["dataset"] for entry in found[1].record.trials} == {"eurosat"}
    assert apart == []


def test_smoke_runs_arent_ranked_with_full_ones() -> None:
    one, two = sweep_of("one", 0.1), sweep_of("two", 0.5).model_copy(update={"smoke": True})
    _, apart = together(one, two)
    assert "the size of the run isn't the same" in apart[0]


def test_what_the_sweeps_say_of_themselves_is_kept_with_their_names() -> None:
    published = (PublishedResult({"temperature": 0.5}, {"test/top1": 0.3}),)
    (joint,), _ = together(
        sweep_of("one", 0.1, caveats=("both say it",)),
        sweep_of(
            "two",
            0.5,
            validation_fraction=0.2,
            caveats=("both say it", "one says it"),
            published=published,
            published_source="a paper",
        ),
    )
    record = joint.record
    assert record.caveats == (
        "validation_fraction is one 0.1, two 0.2: the sweeps were judged on different images",
        "both say it",
        "two: one says it",
    )
    assert (record.published_source, record.command, record.commit) == ("a paper", "run one\nrun two", "abc")
    assert record.versions == {"python": "3.11"}
    table = table_of(joint, by_temperature)
    assert table.settings[0].published == {"test/top1": 0.3}


def test_a_trial_that_two_sweeps_trained_apart_is_the_finished_one() -> None:
    one, two = sweep_of("one", 0.1), sweep_of("two", 0.1)
    elsewhere = tuple(entry.model_copy(update={"place": f"{entry.trial_id}-two"}) for entry in two.trials)
    (joint,), _ = together(one, two.model_copy(update={"trials": elsewhere}), finished=lambda entry: bool(entry.place))
    assert {entry.place.endswith("-two") for entry in joint.record.trials} == {True}


@pytest.fixture(scope="module")
def pair(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path_factory: pytest.TempPathFactory
) -> SweepStorage:
    """A storage with the sweep `mine`, and `later` that repeats one of its settings and adds another."""
    folder = tmp_path_factory.mktemp("pair") / "storage"
    shutil.copytree(swept[1].storage.root, folder)
    space = replace(SMALL_SPACE, stages=(Stage("grid", (Grid(axes={"temperature": (0.2, 0.9)}),)),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        plan = make_plan(space, assignments={}, size_of=size_of)
    record = describe(plan, name="later", command="again", commit="abc", versions={})
    storage = SweepStorage(folder)
    storage.write_sweep(record)
    for entry in record.trials:
        if storage.trial_of(entry).final() is None:
            config = TrialConfig.parse(entry.config)
            list(train(config, store=store, files=storage.trial_of(entry), device=torch.device("cpu")))
    return storage


def without_scripts(page: Path) -> str:
    return re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)


@pytest.mark.slow
def test_one_page_for_both_and_each_ones_own(
    pair: SweepStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["mine", "later"], storage=str(pair.storage.root), html=tmp_path, pictures=False)
    shown = capsys.readouterr().out
    pages = [Path(line.removeprefix("report: ")) for line in shown.splitlines() if line.startswith("report: ")]
    assert pages == [tmp_path / "report.html", tmp_path / "mine" / "report.html", tmp_path / "later" / "report.html"]
    assert "mine, later" in shown
    own = without_scripts(pages[0])
    rows = re.findall(r"<tr[^>]*>\s*<td class=\"text\">([^<]*)</td>\s*<th [^>]*>([^<]*)<", own)
    assert {(sweeps, axis.removeprefix("● ")) for sweeps, axis in rows if axis != "raw pixels"} == {
        ("mine, later", "0.2"),
        ("mine", "0.5"),
        ("later", "0.9"),
    }
    assert "These sweeps again" in own
    assert "left out by --no-pictures" in own
    for page_, targets in ((pages[0], {"mine/report.html", "later/report.html"}), (pages[1], {"../report.html"})):
        found = set(re.findall(r'<a href="([^"#]+)"', without_scripts(page_)))
        assert found == targets
        assert all((page_.parent / target).is_file() for target in found)
    assert ">mine, later<" not in pages[1].read_text()
    assert (tmp_path / "tables" / "comparison.csv").read_text().startswith("sweep,dataset,setting")


@pytest.mark.slow
def test_sweeps_apart_have_their_own_pages(
    pair: SweepStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pair.record("later").model_copy(update={"name": "by_test", "objective": "test/linear_top1"})
    pair.write_sweep(other)
    main(["mine", "by_test"], storage=str(pair.storage.root), html=tmp_path, pictures=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "digits: mine and by_test aren't ranked together: mine by val/knn_top1" in shown
    assert sorted(path.parent.name for path in tmp_path.rglob("report.html")) == ["by_test", "mine"]


def test_frames_of_both_have_each_setting_once(pair: SweepStorage) -> None:
    frames = load("mine", "later", storage=pair.storage.root)
    settings = frames.settings.set_index("setting")["sweep"]
    assert frames.settings.columns[0] == "sweep"
    assert settings.to_dict() == {
        "temperature 0.2": "mine, later",
        "temperature 0.5": "mine",
        "temperature 0.9": "later",
        "raw pixels": "mine, later",
    }
    assert frames.trials["trial_id"].is_unique
    assert set(frames.epochs["sweep"]) == {"mine", "later", "mine, later"}


def test_a_record_without_trials_is_no_empty_page(tmp_path: Path) -> None:
    storage = SweepStorage(tmp_path)
    storage.write_sweep(sweep_of("empty", 0.1).model_copy(update={"trials": ()}))
    with pytest.raises(BadInputError, match="sweep empty: its record has no trial; run it"):
        merged_sweeps(storage, ["empty"])
