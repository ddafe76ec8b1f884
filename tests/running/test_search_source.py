"""A stage's search as the dispatcher's source: in the order of its settings, within the budget, and resumed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.run_contexts import run_context

from sweep.planning.launch import LaunchOptions
from sweep.planning.memory_budget import MemoryBudget
from sweep.planning.plan import Plan, extend, make_plan, propose
from sweep.planning.resources import TrialShape
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.running import search_source
from sweep.running.provenance import write_record
from sweep.running.search_source import SearchSource, settings_left, with_earlier_proposals, with_proposed
from sweep.running.stages import StageLoop
from sweep.running.trial_tasks import within_budget
from sweep.scheduling.task import TrialTask
from sweep.space import Best, Grid, Halving, Range, RankingObjective, Search, SearchSpace, Stage
from trainables.storage.trial_records import EpochRecord

SPACE = SearchSpace(
    name="searched",
    description="",
    base={"dataset": "digits", "image_size": 16, "epochs": 2},
    stages=(
        Stage(
            "search",
            (Grid(axes={"temperature": (0.9,)}),),
            Search({"temperature": Range(0.1, 0.8)}, settings=3, method="optuna"),
        ),
    ),
    objective=RankingObjective("test/top1"),
    baselines=(),
)


def size_of(name: str) -> DataSize:
    return DataSize(1000, 100, 10, "aa", "prepared")


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(search_source, "size_of", size_of)
    return make_plan(SPACE, assignments={}, size_of=size_of)


def task(name: str) -> TrialTask:
    return TrialTask(name, name, {}, "", "", "", TrialShape(1, 1, use_gpu=False))


def test_settings_come_in_order_until_they_are_all_proposed_or_the_sweep_ends(plan: Plan) -> None:
    settings, stopping = settings_left(plan, 1), ""
    assert settings == range(3)
    source = SearchSource(settings, lambda number: [task(str(number))], lambda: bool(stopping))
    assert [source.ask()[0].name, source.ask()[0].name] == ["0", "1"]
    assert not source.exhausted
    stopping = "asked to stop"
    assert source.exhausted
    stopping = ""
    source.ask()
    assert source.exhausted


def test_a_draw_that_can_not_be_trained_is_named_and_drawn_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    search = Search({"batch_size": Range(600, 5000, integer=True)}, settings=4, method="optuna")
    space = replace(SPACE, stages=(Stage("search", search=search),))
    context, said = run_context(SweepStorage(tmp_path)), []
    monkeypatch.setattr(context.progress, "say", said.append)
    plan = make_plan(space, assignments={}, size_of=size_of)
    for number in range(4):
        plan = with_proposed(context, plan, 1, number)
    assert [trial.setting for trial in plan.trials] == [0, 1, 2, 3]
    assert all(600 <= trial.config.batch_size <= 1000 for trial in plan.trials)
    assert 1 <= len(said) <= 4, "a line for each of the settings that were drawn anew"
    assert all("can't be trained, " in line and "batch_size: " in line for line in said)


def test_a_draw_that_does_not_fit_into_memory_is_drawn_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    search = Search({"width_factor": (1.0, 8.0)}, settings=2, method="optuna")
    plan = make_plan(replace(SPACE, stages=(Stage("search", search=search),)), assignments={}, size_of=size_of)
    small = propose(plan, 1, 0, {"width_factor": 1.0}, size_of=size_of).trials[0]
    sizing = SimpleNamespace(memory=MemoryBudget("cpu", 2 * small.memory_bytes(1, "cpu"), None))
    context, said = run_context(SweepStorage(tmp_path), sizing=sizing), []
    monkeypatch.setattr(context.progress, "say", said.append)
    for number in range(2):
        plan = with_proposed(context, plan, 1, number)
    assert [trial.config.width_factor for trial in plan.trials] == [1.0]
    assert "search: width_factor 8 can't be trained, another setting is drawn: " in said[0]
    assert "does not fit" in said[0]


def test_a_draw_that_repeats_a_setting_is_drawn_anew_until_there_are_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    search = Search({"batch_size": Range(32, 35, integer=True)}, settings=9, method="optuna")
    stage = Stage("search", (Grid(axes={"batch_size": (33,)}),), search)
    context, said = run_context(SweepStorage(tmp_path)), []
    monkeypatch.setattr(context.progress, "say", said.append)
    plan = make_plan(replace(SPACE, stages=(stage,)), assignments={}, size_of=size_of)
    assert settings_left(plan, 1) == range(4)
    for number in range(4):
        plan = with_proposed(context, plan, 1, number)
    assert sorted(trial.config.batch_size for trial in plan.trials) == [32, 33, 34, 35]
    assert said == ["search: setting 4 is left out: 200 draws gave no new one to train"]


def test_a_resumed_search_has_its_earlier_settings_from_the_record(plan: Plan) -> None:
    grown = propose(plan, 1, 0, {"temperature": 0.3}, size_of=size_of)
    before = describe(grown, name="mine", command="", commit=None, versions={})
    again = with_earlier_proposals(plan, before)
    assert [trial.trial_id for trial in again.trials] == [trial.trial_id for trial in grown.trials]
    assert settings_left(again, 1) == range(1, 3)
    assert with_earlier_proposals(plan, None) == plan


def two_searches() -> SearchSpace:
    stages = (("first", Range(0.1, 0.2), 3), ("second", Range(0.5, 0.6), 2))
    return replace(
        SPACE,
        stages=tuple(Stage(name, search=Search({"temperature": over}, n, method="optuna")) for name, over, n in stages),
    )


def test_two_stages_with_searches_have_their_own_settings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    plan = grown = make_plan(two_searches(), assignments={}, size_of=size_of)
    for stage, number in ((1, 0), (1, 1), (1, 2), (2, 0)):
        grown = propose(grown, stage, number, {"temperature": 0.1 * stage + 0.01 * number}, size_of=size_of)
    again = with_earlier_proposals(plan, describe(grown, name="mine", command="", commit=None, versions={}))
    assert {trial.trial_id for trial in again.trials} == {trial.trial_id for trial in grown.trials}
    assert [settings_left(again, stage) for stage in (1, 2)] == [range(3, 3), range(1, 2)]


def test_a_search_takes_the_values_that_an_earlier_stage_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    best = Best("batch_size", "digits")
    search = Search({"temperature": Range(0.1, 0.8)}, 2, {"batch_size": best}, method="optuna")
    halving = Halving("test/top1", 1, 2)
    stages = (Stage("grid", (Grid(axes={"batch_size": (64, 128)}),)), Stage("search", search=search, halving=halving))
    plan = make_plan(replace(SPACE, stages=stages), assignments={}, size_of=size_of)
    grown = propose(extend(plan, {best: 128}, size_of=size_of), 2, 0, {"temperature": 0.3}, size_of=size_of)
    assert [(t.stage, t.config.batch_size) for t in grown.trials] == [(1, 64), (1, 128), (2, 128)]
    record = describe(grown, name="mine", command="", commit=None, versions={})
    waiting = with_earlier_proposals(plan, record)
    assert waiting.trials == plan.trials  # until it is decided again
    again = with_earlier_proposals(extend(waiting, {best: 128}, size_of=size_of), record)
    assert [trial.trial_id for trial in again.trials] == [trial.trial_id for trial in grown.trials]


def test_a_stage_of_a_search_alone_runs_after_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    plan, ran = make_plan(two_searches(), assignments={}, size_of=size_of), list[int]()
    monkeypatch.setattr(StageLoop, "_run_stage", lambda loop, stage, entries: ran.append(stage))
    context = run_context(SweepStorage(tmp_path))
    StageLoop(context, plan).run()
    assert ran == [1, 2]


def test_halving_judges_the_settings_of_a_search_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search_source, "size_of", size_of)
    search = Search({"temperature": Range(0.1, 0.8)}, 6, method="optuna")
    space = replace(SPACE, stages=(Stage("search", search=search, halving=Halving("test/top1", 1, 2)),))
    plan = make_plan(space, assignments={}, size_of=size_of)
    rungs = StageLoop(run_context(SweepStorage(tmp_path)), plan)._make_rungs(1, [])
    assert rungs is not None
    said = [
        rungs.verdict(task(str(number)), EpochRecord(epoch=1, time_ms=0, seconds=1.0, metrics={"test/top1": value}))
        for number, value in enumerate((0.9, 0.8))
    ]
    assert said[0] is None
    assert str(said[1]).startswith("halving: 1 of 2 trials is better")


def test_the_record_is_the_plans_and_keeps_the_command_that_started_the_sweep(plan: Plan, tmp_path: Path) -> None:
    context = run_context(SweepStorage(tmp_path), launch=LaunchOptions(space="searched", no_reuse=True))
    first = write_record(context, plan)
    context.storage.write_sweep(first.model_copy(update={"command": "as typed first"}))
    grown = propose(plan, 1, 0, {"temperature": 0.3}, size_of=size_of)
    record = write_record(context, grown)
    assert record == context.storage.sweep("mine")
    assert (record.command, len(record.trials)) == ("as typed first", 2)
    folders = [context.files_of(trial.trial_id).storage.root for trial in grown.trials]
    assert folders == [context.storage.trial_of(entry).storage.root for entry in record.trials]


def test_a_budget_of_trials_counts_those_that_were_trained_before() -> None:
    trained = {"a"}
    allowed = within_budget([task("a"), task("b"), task("c")], trained, 2)
    assert [one.name for one in allowed] == ["a", "b"]
    assert trained == {"a", "b"}
    assert within_budget([task("c")], trained, None) == [task("c")]
