"""Rounds of faults, and what has to hold after each: every trial ended, with the numbers of an undisturbed run."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient
from support.paths import ROOT

from chaos.harness import Faults, World, described, draw_fault, settings
from sweep.records.sweep_storage import SweepStorage
from trainables.metrics import names
from trainables.storage.trial_files import TrialFiles

ROUND_SECONDS = 420.0
"""Within so long after its last fault a sweep has to end."""
RESUMED = (130, 143, 129, -2, -9)
ORDERLY = (130, 143, 129)
"""Exit codes after which nothing of a sweep runs any more."""
GROUP_SLOWNESS = 8.0
"""A group of workers takes so much longer to stand again than one process: else faults would meet only its start."""


@dataclass
class Tally:
    """What befell the sweeps."""

    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    resumes: int = 0
    moves: int = 0
    """Times that a sweep's storage was moved between two of its runs."""
    replays: int = 0
    """Sweeps after which MLflow had to be caught up from the records."""
    tracked: int = 0
    """Runs of sweeps and trials that MLflow has as FINISHED, with each step of the records once."""
    attempts: Counter[str] = field(default_factory=Counter)
    """Attempts at trials by their outcome, as the records tell."""

    @property
    def total(self) -> int:
        """How many faults there were."""
        return self.faults.total()

    def table(self) -> str:
        """Return the faults as a table in Markdown."""
        lines = ["| fault | times |", "|---|---|"]
        lines += [f"| {described(name)} | {count} |" for name, count in sorted(self.faults.items())]
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.attempts.items()))
        lines += [
            "",
            f"{self.total} faults over {self.rounds} sweeps, {self.resumes} of them resumed once or more often",
        ]
        lines.append(f"attempts: {outcomes}; MLflow caught up from the records: {self.replays} times")
        lines.append(f"runs that MLflow has as FINISHED, with every step once: {self.tracked}, none in another state")
        return "\n".join([*lines, f"storages moved between two runs: {self.moves} times"])


class Storm:
    """Runs sweeps under faults in one world."""

    def __init__(
        self, world: World, seed: int, *, epochs: int = 12, only: str = "", say: Callable[[str], None] = print
    ) -> None:
        self._world, self._chance, self._only, self._say = world, random.Random(seed), only, say
        (world.folder / "chaos_space.py").write_text(settings(epochs=epochs))
        self.tally = Tally()
        self._references: dict[int, dict[str, Any]] = {}

    def run(self, faults: int, *, workers: tuple[int, ...] = (1, 1, 2)) -> None:
        """Go on until there were so many faults."""
        while self.tally.total < faults:
            shape = workers[self.tally.rounds % len(workers)]
            if shape not in self._references:
                storage = self._storage(f"calm-{shape}")
                self._sweep(f"calm-{shape}", storage, shape, wanted=0)
                self._references[shape] = _results(storage, f"calm-{shape}")
            name = f"round-{self.tally.rounds}"
            storage = self._storage(name)
            many = self._chance.randint(15, 40) // (1 if shape == 1 else 4)
            storage = self._sweep(name, storage, shape, wanted=min(faults - self.tally.total, many))
            self._check(name, storage, self._references[shape])
            self.tally.rounds += 1
            self._say(f"{name}: {self.tally.total} faults so far, all well; {dict(self.tally.faults)}")

    def _storage(self, name: str) -> Path:
        folder = self._world.folder / "storage" / name
        folder.mkdir(parents=True)
        return folder

    def _sweep(self, name: str, storage: Path, workers: int, *, wanted: int) -> Path:
        """Run a sweep under so many faults; return where its storage lies at the end."""
        faults = Faults(self._world, storage, self._chance)
        try:
            self._run_under(faults, name, storage, workers, wanted=wanted)
        finally:
            faults.settle()  # also after a failure: what is read-only can't be removed
        self._world.server.wait()
        return faults.storage

    def _moved(self, storage: Path) -> Path:
        """Move a storage, now and then, and return where it lies."""
        if self._chance.random() < 0.5:
            return storage
        self.tally.moves += 1
        return storage.rename(storage.with_name(f"{storage.name} moved #{self.tally.moves}"))

    def _run_under(self, faults: Faults, name: str, storage: Path, workers: int, *, wanted: int) -> None:
        world, chance = self._world, self._chance
        slowness = 1.0 if workers == 1 else GROUP_SLOWNESS
        start = ("--space", "chaos_space.py", "--name", name, "--workers", str(workers))
        world.start(name, storage, *start)
        done, next_at, deadline = 0, time.monotonic() + chance.uniform(0.0, 15.0), time.monotonic() + ROUND_SECONDS
        resumed = False
        while True:
            faults.tick()
            assert world.sweep is not None
            code = world.sweep.poll()
            if code == 0:
                break
            if code is not None:
                log = (world.folder / f"{name}.log").read_text(errors="replace")
                assert code in RESUMED, f"{name}: exit code {code}\n{log[-4000:]}"
                faults.settle()
                world.server.wait()
                if code in ORDERLY:
                    storage = faults.storage = self._moved(storage)
                begun = SweepStorage(storage).sweep(name) is not None
                world.start(name, storage, *(("--resume", name) if begun else start))
                resumed = True
            elif done < wanted and time.monotonic() >= next_at:
                kind = draw_fault(chance, self.tally.faults, self._only)
                next_at = time.monotonic() + 0.2
                if getattr(faults, kind)():
                    done += 1
                    self.tally.faults[kind] += 1
                    world.write_log(name, kind)
                    deadline = time.monotonic() + ROUND_SECONDS
                    next_at = time.monotonic() + slowness * chance.uniform(0.3, 6.0)
            assert time.monotonic() < deadline, f"{name}: doesn't end; see {world.folder / f'{name}.log'}"
            time.sleep(0.05)
        self.tally.resumes += resumed

    def _check(self, name: str, storage: Path, expected: dict[str, Any]) -> None:
        found = _results(storage, name)
        assert found.keys() == expected.keys()
        for trial, (metrics, weights) in expected.items():
            assert found[trial][0] == metrics, f"{name}, {trial}: other metrics than undisturbed"
            assert found[trial][1].keys() == weights.keys()
            for key, tensor in weights.items():
                assert torch.equal(found[trial][1][key], tensor), f"{name}, {trial}: other weights than undisturbed"
        place = SweepStorage(storage)
        record = place.sweep(name)
        assert record is not None
        for entry in record.trials:
            self.tally.attempts.update(attempt.outcome for attempt in place.trial_of(entry).attempts())
        if (gap := self._tracked(name, storage)) is not None:
            replay = [sys.executable, "-m", "sweep.track", "--replay", name, "--storage", str(storage)]
            subprocess.run(
                [*replay, "--tracking-uri", self._world.server.uri],
                check=True,
                capture_output=True,
                cwd=ROOT,
                env=None,
            )
            self.tally.replays += 1
            self._say(f"{name}: MLflow lacked {gap}")
            assert self._tracked(name, storage) is None

    def _tracked(self, name: str, storage: Path) -> str | None:
        """Return what MLflow lacks, or None; a step that is there twice fails."""
        client = MlflowClient(self._world.server.uri)
        experiment = client.get_experiment_by_name("sweep")
        assert experiment is not None
        parents = client.search_runs([experiment.experiment_id], f"tags.`sweep.name` = '{name}'")
        if len(parents) != 1:
            return f"the sweep's run: {len(parents)}"
        if parents[0].info.status != "FINISHED":
            return "the end of the sweep's run"
        parent = parents[0].info.run_id
        children = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
        runs = {run.data.tags["sweep.trial_id"]: run for run in children}
        assert len(runs) == len(children), "a trial has two runs"
        for trial_id, files in _trials(storage, name).items():
            run = runs.get(trial_id)
            if run is None or run.info.status != "FINISHED":
                return f"the end of {trial_id}"
            for metric in (names.CONTRASTIVE_LOSS, names.IMAGES_PER_SECOND):
                history = client.get_metric_history(run.info.run_id, metric)
                steps = [point.step for point in sorted(history, key=lambda point: point.step)]
                assert len(set(steps)) == len(steps), f"{name}, {trial_id}: {metric} has a step twice: {steps}"
                if steps != [record.epoch for record in files.epochs()]:
                    return f"steps of {trial_id}"
        self.tally.tracked += 1 + len(runs)
        return None


def _trials(storage: Path, name: str) -> dict[str, TrialFiles]:
    place = SweepStorage(storage)
    record = place.sweep(name)
    assert record is not None
    return {entry.trial_id: place.trial_of(entry) for entry in record.trials}


def _results(storage: Path, name: str) -> dict[str, Any]:
    """Return each trial's metrics by epoch, but for its speed, and its final weights."""
    results = {}
    for trial_id, files in _trials(storage, name).items():
        assert files.final() is not None, f"{name}, {trial_id}: not finished"
        metrics = [
            (r.epoch, json.dumps({n: v for n, v in r.metrics.items() if n not in names.OF_THE_MACHINE}, sort_keys=True))
            for r in files.epochs()
        ]
        model = files.load_model()
        weights = {f"{part}.{key}": tensor for part in ("encoder", "probe") for key, tensor in model[part].items()}
        results[trial_id] = (metrics, weights)
    return results
