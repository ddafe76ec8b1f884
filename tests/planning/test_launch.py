"""Options of a resumed sweep: those that are given now, otherwise those that its record has."""

from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.__main__ import app
from sweep.console.app import run_app
from sweep.planning.launch import LaunchOptions
from sweep.running.run_location import RunLocation
from sweep.running.run_request import RunRequest


def test_a_given_option_counts_although_it_is_the_default() -> None:
    recorded = LaunchOptions(workers="2", device="gpu", share_gpus=4, memory=8.0)
    here = RunLocation(str(ROOT))
    given = RunRequest(here, workers=1, device="auto", given=frozenset({"workers", "device"}))
    kept = recorded.updated(given._typed())
    assert (kept.workers, kept.device, kept.share_gpus, kept.memory) == ("1", "auto", 4, 8.0)
    assert recorded.updated(RunRequest(here)._typed()) == recorded
    assert recorded.updated(RunRequest(here, workers=3)._typed()).workers == "3"


@pytest.mark.parametrize(
    ("options", "given"),
    [((), frozenset()), (("--workers", "1", "--device=auto"), frozenset({"workers", "device"}))],
)
def test_the_command_knows_which_options_were_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...], given: frozenset[str]
) -> None:
    asked: list[frozenset[str]] = []
    monkeypatch.setattr(RunRequest, "print_plan", lambda request: asked.append(request.given))
    with pytest.raises(SystemExit):
        run_app(app, ("run", "--dry-run", "--storage", str(tmp_path), *options), prog_name="python -m sweep")
    assert asked == [given | {"dry_run", "storage"}]
