"""Test images that are also in the pretraining pool: counted once, flagged in the comparison, refused with --strict."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.written_sweeps import space_of, write_sweep

from sweep.compare import main
from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.pool_leaks import PoolLeaks, StorePair, store_pairs
from sweep.console.dataset_tables import notes
from sweep.records.sweep_storage import SweepStorage
from sweep.report.csv_tables import comparison_rows
from sweep.running.leak_check import check_leaks
from sweep.running.run_location import RunLocation
from sweep.running.run_request import RunRequest
from sweep.running.stages import StageLoop
from sweep.space import Best, Grid, Range, Search, SearchSpace, Stage
from trainables.data.preparing import kept_leaks
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare, remove
from trainables.data.preparing.store_leaks import StoreLeaks
from trainables.data.store_info import LeakCounts, prepared
from trainables.errors import BadInputError
from trainables.storage.trial_files import MODEL

LEAKING = 3


def write_store(root: Path, name: str, seed: int, borrowed: int = 0, changed: int = 0) -> None:
    """Prepare 40 train and 20 test pictures; the first `borrowed` test pictures are train pictures of seed 0.

    `changed` values of each of these are other ones.
    """
    random, other = np.random.default_rng(seed), np.random.default_rng(0)
    pool = [other.integers(0, 255, (16, 16, 3)) for _ in range(40)]
    for number in range(60):
        split = "train" if number < 40 else "test"
        pixels = random.integers(0, 255, (16, 16, 3))
        if 40 <= number < 40 + borrowed:
            pixels = pool[number - 40].copy()
            pixels[0, :changed, 0] ^= 1
        path = root / f"in-{name}" / split / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    prepare("folder", source=root / f"in-{name}", root=root / "data", store_name=name)


def space(judge: str, pool: str = "pool") -> SearchSpace:
    plain = space_of(2, seeds=1)
    judged = {} if judge == pool else {"evaluation_dataset": judge}
    base = {**plain.base, "dataset": pool, **judged, "positive": ("a",), "batch_size": 16}
    return replace(plain, base=base, name=f"by-{judge}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("leaks")
    write_store(root, "pool", 0)
    write_store(root, "judge", 1, borrowed=LEAKING)
    write_store(root, "honest", 2)
    write_store(root, "alike", 0, borrowed=LEAKING, changed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(root / "data"))
        for judge in ("judge", "honest"):
            write_sweep(space(judge), root / "sweeps", name=f"by-{judge}")
        names = [f"{path.relative_to(root / 'in-alike')}" for path in (root / "in-alike").rglob("*.png")]
        lines = "".join(f"{name},{name.split('/')[1]}\n" for name in names)
        (root / "labels.csv").write_text(f"path,label\n{lines}")
        attach_labels(LabelRequest("alike", root / "labels.csv", "later"))
        for pool, judge in (("pool", "alike"), ("alike", "alike"), ("alike", "alike.later")):
            write_sweep(space(judge, pool), root / "sweeps", name=f"{pool}-by-{judge}")
    return root


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_DATA", str(made / "data"))
    return made


def test_the_comparison_counts_names_and_flags_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = SweepStorage(place / "sweeps")
    (part,) = dataset_reports(storage.record("by-judge"), storage)
    (leaks,) = part.table.leaks
    assert (leaks.pool, leaks.evaluation, leaks.found.tested) == ("pool", "judge", 20)
    assert (leaks.found.counts.identical, leaks.found.counts.near_identical, leaks.found.overlapping) == (LEAKING, 0, 0)
    assert all(row["leaks"] == "3 identical to pool" for row in comparison_rows(part))
    main(["by-judge"], storage=str(place / "sweeps"))
    told = " ".join(capsys.readouterr().out.split())
    assert "pool, evaluated on judge LEAKS" in told
    assert "of the 20 test images of judge: 3 identical to an image of the train split of pool (test/a/40.png" in told
    main(["by-judge"], storage=str(place / "sweeps"), as_json=True)
    (table,) = json.loads(capsys.readouterr().out)["comparisons"][0]["tables"]
    assert (table["leaks"][0]["identical"], table["leaks"][0]["test_images"]) == (LEAKING, 20)
    main(["by-honest"], storage=str(place / "sweeps"))
    assert "LEAKS" not in capsys.readouterr().out


def test_near_duplicates_of_its_own_split_mark_no_data_set(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are described with the data, also of a label set; those in another store mark the data set."""
    for name, marked in (("alike-by-alike", False), ("alike-by-alike.later", False), ("pool-by-alike", True)):
        main([name], storage=str(place / "sweeps"))
        assert ("LEAKS" in capsys.readouterr().out) is marked
        main([name], storage=str(place / "sweeps"), as_json=True)
        (table,) = json.loads(capsys.readouterr().out)["comparisons"][0]["tables"]
        (leaks,) = table["leaks"]
        assert (leaks["identical"], leaks["nearly_identical"], leaks["marked"]) == (0, LEAKING, marked)
    assert any(f"{LEAKING} nearly identical to an image of another split" in line for line in notes(prepared("alike")))
    with pytest.raises(BadInputError, match=r"^--strict: of the 20 test images of alike: 3 nearly identical to"):
        RunRequest(RunLocation(str(place / "new")), space=space("alike", "alike"), strict=True).session()


def test_stores_are_compared_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = prepared("pool"), prepared("judge")
    first = kept_leaks.kept_leaks(*infos)
    monkeypatch.setattr(kept_leaks, "leaks_between", lambda *_: pytest.fail("compared again"))
    assert kept_leaks.kept_leaks(*infos) == first
    monkeypatch.undo()
    monkeypatch.setenv("SWEEP_DATA", str(place / "data"))
    for file in (place / "data" / ".leaks").iterdir():
        file.write_text("{")
    assert kept_leaks.kept_leaks(*infos) == first  # damaged ones are computed again
    monkeypatch.setenv("SWEEP_DATA", f"file://{place / 'data'}")
    monkeypatch.setenv("SWEEP_CACHE", str(place / "cache"))
    assert kept_leaks.kept_leaks(*infos, fetch=False) is None
    assert not (place / "cache").exists()
    assert kept_leaks.kept_leaks(*infos) == first
    assert kept_leaks.kept_leaks(*infos, fetch=False) == first


def test_strict_refuses_before_anything_starts(place: Path, tmp_path: Path) -> None:
    asked = RunRequest(RunLocation(str(tmp_path / "new")), space=space("judge"), strict=True)
    for start in (asked.session, asked.print_plan):
        with pytest.raises(BadInputError, match=r"^--strict: of the 20 test images of judge: 3 identical to"):
            start()
    assert not (tmp_path / "new").exists()
    replace(asked, space=space("honest")).session()
    replace(asked, strict=False).session()


def test_strict_refuses_what_only_a_later_stage_or_a_search_names(place: Path, tmp_path: Path) -> None:
    first = space("honest")
    best = Best("temperature", dataset="pool")
    later = Stage("later", (Grid(base={"temperature": best}, axes={"evaluation_dataset": ("honest", "judge")}),))
    over = {"evaluation_dataset": ("honest", "judge"), "temperature": Range(0.1, 0.5)}
    base = {name: value for name, value in first.base.items() if name != "evaluation_dataset"}
    searched = Stage("searched", search=Search(over=over, settings=2, method="optuna"))
    for asked in (
        replace(first, stages=(*first.stages, later)),
        replace(first, base=base, stages=(searched,)),
    ):
        request = RunRequest(RunLocation(str(tmp_path / "new")), space=asked, strict=True)
        plan = request.plan()
        assert not any(trial.config.evaluation_dataset == "judge" for trial in plan.trials)
        with pytest.raises(BadInputError, match=r"^--strict: of the 20 test images of judge: 3 identical to"):
            request.session()
        assert not (tmp_path / "new").exists()
    gone = Grid(base={"temperature": best, "evaluation_dataset": "tiny_imagenet"})  # later, so no trial asks for it yet
    asked = replace(first, stages=(*first.stages, Stage("gone", (gone,))))
    with pytest.raises(
        BadInputError, match=r"^--strict: tiny_imagenet, which encoders are evaluated on, isn't prepared"
    ):
        replace(request, space=asked).session()
    undecided = Grid(base={"evaluation_dataset": Best("evaluation_dataset", dataset="pool")})
    asked = replace(first, stages=(*first.stages, Stage("undecided", (undecided,))))
    replace(request, space=asked).session()


@pytest.mark.parametrize("strict", [True, False])
def test_a_stage_whose_data_results_choose_is_refused_when_it_is_planned(
    strict: bool, place: Path, tmp_path: Path
) -> None:
    """Judged by the store that the first stage found best, the pool of the second stage leaks into it."""
    chosen = Grid(base={"dataset": "pool", "evaluation_dataset": Best("evaluation_dataset", dataset="honest")})
    first = space("judge", "honest")
    asked = replace(first, stages=(*first.stages, Stage("chosen", (chosen,))))
    request = RunRequest(RunLocation(str(tmp_path)), space=asked, strict=strict)
    said: list[str] = []
    metric = {asked.objective.metric: 0.5}
    context = SimpleNamespace(
        storage=SweepStorage(tmp_path),
        options=request.session()._options,
        tracker=None,
        live=None,
        progress=SimpleNamespace(say=said.append),
        final_metrics=lambda trial_id: metric,
        name="x",
    )
    loop = StageLoop(context, request.plan())  # type: ignore[arg-type]
    assert loop._decide_next_stage() is not strict
    assert said[0] == "chosen: evaluation_dataset judge, the best of honest"
    refusals = ["chosen: not run: --strict: of the 20 test images of judge: 3 identical to an image of the train split"]
    assert [line.split(" of pool")[0] for line in said[1:]] == (refusals if strict else [])


def test_weights_lead_to_what_they_were_trained_on(place: Path) -> None:
    storage = SweepStorage(place / "sweeps")
    entry = next(one for one in storage.record("by-judge").trials if one.baseline is None)
    address = storage.trial_of(entry).storage.address(MODEL)
    config = {"dataset": "judge", "evaluation_dataset": None, "initial_weights": f"{address}#name=x"}
    judge, pool = prepared("judge"), prepared("pool")
    assert list(store_pairs(config, judge.fingerprint, storage)) == [
        StorePair("judge", judge.fingerprint, "judge", judge.fingerprint),
        StorePair("pool", pool.fingerprint, "judge", judge.fingerprint),
    ]
    for elsewhere in ("/other/trials/a/model.pt#name=x", "imagenet1k_v1_resnet18", None):
        assert len(list(store_pairs({**config, "initial_weights": elsewhere}, judge.fingerprint, storage))) == 1


def test_a_pool_that_is_gone_cannot_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path, "pool", 0)
    write_store(tmp_path, "judge", 1)
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    _, storage = write_sweep(space("judge"), tmp_path / "sweeps", name="mine")
    entry = next(one for one in storage.record("mine").trials if one.baseline is None)
    files = storage.trial_of(entry)
    remove("pool")
    config = SimpleNamespace(
        model_dump=lambda mode: {
            "dataset": "judge",
            "evaluation_dataset": None,
            "initial_weights": files.storage.address(MODEL),
        }
    )
    fingerprint = prepared("judge").fingerprint
    trial = SimpleNamespace(config=config, data=SimpleNamespace(fingerprint=fingerprint), evaluation=None)
    plan = SimpleNamespace(trials=[trial], pending=(), space=SimpleNamespace(stages=()))
    with pytest.raises(BadInputError, match=r"^--strict: pool, which encoders were pretrained on, isn't prepared"):
        check_leaks(plan, storage)  # type: ignore[arg-type]


@pytest.mark.parametrize(("twins", "example"), [(("a is b",), "a is b"), ((), "c overlaps d")])
def test_leaks_are_said_with_one_example(twins: tuple[str, ...], example: str) -> None:
    counts = LeakCounts(identical=len(twins), near_identical=0, neighbours=0, examples=twins)
    found = StoreLeaks(tested=9, counts=counts, overlapping=1, footprints=("c overlaps d",), not_compared="")
    between = PoolLeaks("pool", "judge", found, one_split=False)
    within = PoolLeaks("judge", "judge", found, one_split=True)
    assert between.sentence.endswith(f"an image of the train split of pool ({example})")
    assert between.marked
    assert within.marked  # the same ground or an exact copy
