"""A sweep under way as others see it, through the storage alone.

live/NAME.json           who runs it and how it stands, rewritten every few seconds, gone when it ends
sweeps/NAME/stops/...    what it is asked to stop: `all`, or a trial's id
"""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict

from sweep.records.status import LiveState, state_of
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from trainables.errors import BadInputError
from trainables.storage.trial_records import now_ms

BEAT_SECONDS = 3.0
STALE_SECONDS = 30.0
"""A sweep that has said nothing for so long has died, by the clocks of the two machines."""
EVERYTHING = "all"


class Lease(BaseModel):
    """Who runs a sweep, and how it stands."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    token: str
    host: str
    process: int
    started_ms: int
    time_ms: int
    claims: tuple[str, ...]
    """Ids of the trials that it trains."""
    state: LiveState | None

    @property
    def alive(self) -> bool:
        """Whether whoever wrote this still runs, as far as can be seen from here."""
        if self.host == socket.gethostname() and not psutil.pid_exists(self.process):
            return False
        return now_ms() - self.time_ms < 1000 * STALE_SECONDS

    def described(self) -> str:
        """Return who runs it, for a message."""
        return f"process {self.process} on {self.host}, last heard of {(now_ms() - self.time_ms) / 1000:.0f} s ago"


class Live:
    """Holds a sweep's lease while it runs, and looks for what it is asked to stop."""

    def __init__(self, storage: SweepStorage, name: str) -> None:
        self._storage, self._name, self._token = storage, name, secrets.token_hex(8)
        self._started = now_ms()
        self._claims: set[str] = set()
        self._state: Callable[[], LiveState] | None = None
        self._stops: set[str] = set()
        self._taken_by: Lease | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="live", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease; BadInputError when the sweep is under way elsewhere."""
        holder = lease(self._storage, self._name)
        if holder is not None and holder.alive:
            raise BadInputError(
                f"sweep {self._name}: is running already ({holder.described()}); watch it with python -m sweep.status "
                f"{self._name}, stop it with python -m sweep.stop {self._name}"
            )
        clear_stops(self._storage, self._name)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Give the lease up."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self._taken_by is None:
                self._storage.storage.delete(_path(self._name))

    def show(self, state: Callable[[], LiveState]) -> None:
        """Say from now on how the sweep stands; `state` is called in the background."""
        self._state = state

    def claim(self, trial_id: str) -> bool:
        """Say that this sweep trains the trial, unless another one does; return whether it may.

        Written before the others are read, so that of two sweeps that ask at once at least one sees the other; where
        both do, both ask again later.
        """
        with self._lock:
            self._claims.add(trial_id)
        self._write()
        for other in leases(self._storage):
            if other.token != self._token and trial_id in other.claims and other.alive:
                self.release(trial_id)
                return False
        return True

    def release(self, trial_id: str) -> None:
        """Say that this sweep doesn't train the trial any more."""
        with self._lock:
            self._claims.discard(trial_id)
        with contextlib.suppress(OSError):  # the next beat says it
            self._write()

    def asked_to_stop(self) -> set[str]:
        """Return what should stop, as far as it was looked at: EVERYTHING, ids of trials."""
        return set(self._stops)

    @property
    def taken_over(self) -> str:
        """Who runs the sweep instead of this process; empty while nobody does."""
        return self._taken_by.described() if self._taken_by is not None else ""

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                holder = lease(self._storage, self._name)
                if holder is not None and holder.token != self._token and holder.alive:
                    self._taken_by = holder
                    return
                self._write()
                self._stops = set(stops(self._storage, self._name))

    def _write(self) -> None:
        state = self._state() if self._state is not None else None
        with self._lock:
            record = Lease(
                name=self._name,
                token=self._token,
                host=socket.gethostname(),
                process=os.getpid(),
                started_ms=self._started,
                time_ms=now_ms(),
                claims=tuple(sorted(self._claims)),
                state=state,
            )
            self._storage.storage.write(_path(self._name), record.model_dump_json().encode())


def lease(storage: SweepStorage, name: str) -> Lease | None:
    """Return who runs, or ran, a sweep, or None when it ended."""
    content = storage.storage.read(_path(name))
    return None if content is None else Lease.model_validate_json(content)


def leases(storage: SweepStorage) -> list[Lease]:
    """Return those of all sweeps that haven't ended."""
    names = (name.removesuffix(".json") for name in storage.storage.names("live"))
    return [found for name in names if (found := lease(storage, name)) is not None]


def current_state(storage: SweepStorage, record: SweepRecord, held: Lease | None) -> LiveState:
    """Return how a sweep stands: as its process says while it runs, else by its trials' records."""
    said = held.state if held is not None and held.alive else None
    return said if said is not None else state_of(record, storage)


def request_stop(storage: SweepStorage, name: str, what: str = EVERYTHING) -> None:
    """Ask a sweep to stop, or to stop a trial by its id."""
    storage.storage.write(f"sweeps/{name}/stops/{what}", b"")


def stops(storage: SweepStorage, name: str) -> list[str]:
    """Return what a sweep is asked to stop."""
    return storage.storage.names(f"sweeps/{name}/stops")


def clear_stops(storage: SweepStorage, name: str, which: Iterable[str] | None = None) -> None:
    """Forget what was asked."""
    for what in which if which is not None else stops(storage, name):
        storage.storage.delete(f"sweeps/{name}/stops/{what}")


def _path(name: str) -> str:
    return f"live/{name}.json"
