"""All kinds of records, broken at random: each command ends with one clear line, and touches nothing outside."""

import copy
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces.quickstart import SPACE
from sweep.compare import main as compare
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.records import lease as lease_module
from sweep.records.removal import delete_sweep, finished_checkpoints, older_than, plan_removal
from sweep.records.stop_requests import request_stop
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.run import main as run
from sweep.space import written
from sweep.status import main as status
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord, now_ms

SECONDS = 20
"""That one command may take."""
NESTED = 100_000
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 2**31, 10**30, 10**400, 1e308, "", "x", "../../victim", "/etc/passwd", "a\x1b[2Jb\n"),
    *([], {}, [[]], [None], {"x": {"y": []}}, ["../.."], "x" * 10_000, "[/b]", "\ud800"),
)
Mutation = Callable[[random.Random, bytes], bytes]


def flipped(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(chance.choice([1, 2, 20])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def nested(chance: random.Random, content: bytes) -> bytes:
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"1}")])
    return chance.choice([opening * NESTED, opening * NESTED + b"1" + closing * NESTED])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all fields of a record."""
    if path:
        yield path
    for key, own in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(own, (*path, key))


def retyped(chance: random.Random, content: bytes) -> bytes:
    """Give one field another value, take it away, or add one, as another version does."""
    record = json.loads(content or b"{}")
    path = chance.choice([*places(record)] or [("x",)])
    holder = record
    for key in path[:-1]:
        holder = holder[key]
    action = chance.random()
    if action < 0.1 and isinstance(holder, dict):
        holder.pop(path[-1], None)
    elif action < 0.2 and isinstance(holder, dict):
        holder[chance.choice(["format_version", "a\nb", ""])] = chance.choice(VALUES)
    elif action < 0.25:
        record = chance.choice(VALUES)
    else:
        holder[path[-1]] = copy.deepcopy(chance.choice(VALUES))
    return json.dumps(record).encode()


MUTATIONS: tuple[Mutation, ...] = (retyped, retyped, retyped, retyped, flipped, cut, nested)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a storage that holds each kind of record, and files beside it."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(folder / "data"))
        for name in ("WATCH_SECONDS", "GLANCE_SECONDS"):  # a lease in doubt is watched
            patch.setattr(lease_module, name, 0.1)
        prepare("digits", root=folder / "data")
        storage = SweepStorage(folder / "storage")
        launch = LaunchOptions(space="quickstart", written=written(SPACE), assignments={"temperature": (0.1, 0.5)})
        record = describe(plan_of(launch), name="fuzzed", command="", commit=None, versions={}, launch=launch)
        storage.write_sweep(record)
        storage.write_stopped("fuzzed", record.trials[1].trial_id, "asked to stop", backlog := DeferredWrites())
        backlog.flush()
        request_stop(storage, "fuzzed", record.trials[1].trial_id)
        storage.storage.write("live/fuzzed.json", LEASE.encode())
        for number, entry in enumerate(record.trials):
            files = storage.trial_of(entry)
            files.write_config(entry.config, "aa")
            files.write_epoch(
                EpochRecord(epoch=1, time_ms=now_ms(), seconds=1.0, metrics={SPACE.objective.metric: 0.5})
            )
            files.write_attempt(AttemptRecord(number=1, sweep="fuzzed", started_ms=now_ms(), ended_ms=now_ms()))
            shape = {"workers": 1, "threads": 1, "device": "cpu", "host": "here", "versions": {}, "train_images": 1}
            if number:
                files.write_final(FinalRecord(time_ms=now_ms(), epochs=1, seconds=1.0, classes=("a", "b"), **shape))
            else:
                files.write_failure(FailureRecord(time_ms=now_ms(), kind="crash", message="it fell over"))
        (folder / "victim").mkdir()
        (folder / "victim" / "photo").write_text("the only copy")
        yield folder


LEASE = json.dumps(
    {
        **{"name": "fuzzed", "token": "aa", "host": "elsewhere", "process": 1, "started_ms": 1, "time_ms": 1},
        "claims": ["aa"],
        "state": {"counts": {"running": 1}, "trials": [], "device_hours": 0.5, "left_seconds": None, "stopping": ""},
    }
)


def removal(address: str) -> None:
    """Remove the sweep as `sweep.remove --yes` does, but for its runs in MLflow."""
    storage = SweepStorage(address)
    older_than(storage, 1.0)
    record = storage.record("fuzzed")
    planned = plan_removal(storage, record)
    finished_checkpoints(storage, record)
    delete_sweep(storage, planned)


def commands(address: str) -> dict[str, Callable[[], None]]:
    return {
        "status": lambda: status("fuzzed", storage=address),
        "status --json": lambda: status("fuzzed", storage=address, as_json=True),
        "compare": lambda: compare(["fuzzed"], storage=address),
        "resume --dry-run": lambda: run(resume="fuzzed", storage=address, dry_run=True),
        "remove": lambda: removal(address),
    }


def outside(folder: Path) -> list[tuple[str, float]]:
    """Return the files beside the storage, with their times."""
    files = (path for path in folder.rglob("*") if not path.relative_to(folder).parts[0].startswith("storage"))
    return sorted((str(path), path.stat().st_mtime) for path in files)


def fuzz(place: Path, seeds: range) -> None:
    """Break one record a seed, and run every command over it."""

    def too_long(number: int, frame: Any) -> None:
        raise AssertionError("hangs")

    before, kept = outside(place), place / "storage-kept"
    shutil.copytree(place / "storage", kept, dirs_exist_ok=True)
    files = sorted(path.relative_to(kept) for path in kept.rglob("*.json"))
    kinds = {path.parent.name if path.stem.isdigit() else path.name: path for path in files}
    previous = signal.signal(signal.SIGALRM, too_long)
    try:
        for seed in seeds:
            chance = random.Random(seed)
            path = kinds[sorted(kinds)[seed % len(kinds)]] if seed % 3 else kinds["sweep.json"]
            content = chance.choice(MUTATIONS)(chance, (kept / path).read_bytes())
            shutil.rmtree(place / "storage")
            shutil.copytree(kept, place / "storage")
            (place / "storage" / path).write_bytes(content)
            for name, command in commands(str(place / "storage")).items():  # removing comes last
                signal.alarm(SECONDS)
                said = ""
                try:
                    command()
                except BadInputError as error:
                    said = str(error)
                except BaseException as error:
                    error.add_note(f"seed {seed}: {name} over {path}: {content[:2000]!r}")
                    raise
                finally:
                    signal.alarm(0)
                assert said.count("\n") == 0 or name.startswith("resume"), f"{seed} {name}: {said!r}"
                assert all(sign == "\n" or ord(sign) >= ord(" ") for sign in said), f"{seed} {name}: {said!r}"
                assert outside(place) == before, f"{seed} {name}"
    finally:
        signal.signal(signal.SIGALRM, previous)
        shutil.rmtree(place / "storage")
        shutil.move(kept, place / "storage")


@pytest.mark.slow
def test_a_broken_record_is_one_clear_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fuzz(place, range(24))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(24, 224), pytest.param(range(224, 500), marks=pytest.mark.long)], ids=str)
def test_hundreds_of_broken_records_are_clear_lines(
    place: Path, capsys: pytest.CaptureFixture[str], seeds: range
) -> None:
    fuzz(place, seeds)
