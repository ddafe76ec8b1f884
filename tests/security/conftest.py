"""A store and a sweep whose names an attacker chose."""

import contextlib
import io
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from support.hostile_names import NAMES, write_images

from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.storage.trial_records import FailureRecord, now_ms


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A store of hostile names, prepared by the command, and a sweep of two trials over it, one of which failed."""
    from sweep.data import main
    from sweep.planning.dataset_sizes import size_of
    from sweep.planning.plan import make_plan
    from trainables.training.trial import train

    folder = tmp_path_factory.mktemp("hostile")
    table = write_images(folder)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(folder / "data"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for words in (
                ["prepare", "folder", "--source", str(folder / "images"), "--table", str(table), "--as", "hostile"],
                ["info", "hostile"],
                ["list"],
                ["show", "hostile", "--output", str(folder / "sheet.png")],
                ["verify", "hostile"],
            ):
                with contextlib.suppress(SystemExit):
                    main(words)
        store = ImageStore.open("hostile", folder / "data")
        space = SearchSpace(
            name="small",
            description="\n".join(NAMES),
            base={
                "dataset": "hostile",
                "image_size": 16,
                "positive": (NAMES[5],),
                "encoder": "resnet10",
                "width_factor": 1 / 16,
                "batch_size": 16,
                "epochs": 1,
                "warmup_epochs": 0,
                "validation_fraction": 0.4,
            },
            stages=(Stage("grid", (Grid(axes={"temperature": (0.2, 0.5)}),)),),
            objective=RankingObjective("val/knn_top1"),
            columns=("test/linear_top1", "test/linear_sensitivity"),
            caveats=NAMES,
            baselines=(),
            published_source=NAMES[12],
        )
        plan = make_plan(space, assignments={}, size_of=size_of)
        storage = SweepStorage(folder / "storage")
        record = describe(plan, name="mine", command=NAMES[11], commit=NAMES[0], versions={"torch": NAMES[12]})
        storage.write_sweep(record)
        first, second = record.trials
        config = TrialConfig.parse(first.config)
        list(train(config, store=store, files=storage.trial_of(first), device=torch.device("cpu")))
        failure = FailureRecord(kind="crash", message="\n".join(NAMES), time_ms=now_ms())
        storage.trial_of(second).storage.write("failure.json", failure.model_dump_json().encode())
        yield SimpleNamespace(
            folder=folder,
            store=store,
            record=record,
            storage=storage,
            said=SimpleNamespace(out=out.getvalue(), err=err.getvalue()),
        )


@pytest.fixture
def colourless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich write no sequence of its own, so that each one is an attacker's."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
