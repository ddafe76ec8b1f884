"""Lease of a running sweep, through the storage alone.

live/NAME.json    owner and state of the sweep, rewritten every few seconds, deleted at its end

A sweep is running while its lease is renewed. If its process is on this machine (`process_identity`), a missing process
means that the sweep has ended. Otherwise the lease's age decides, by the clocks of two machines, which may differ by
minutes. A lease that is neither fresh nor very old is in doubt: it is watched for a change, which needs no clock.

A process that was frozen for longer than that may wake up after another process took its sweep over. It reads the lease
before it writes, and stops if the lease is not its own. It may have been frozen between reading and writing, and then
overwrite the new owner's lease. The new owner writes its lease again: a lease lists the owners that it was taken from,
and nobody yields to those. So no conditional writes are needed, which pyarrow offers for no object store.
"""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from sweep.records.paths import NAME
from sweep.records.process_identity import has_ended, is_stopped, machine_identity, start_time
from sweep.records.status import LiveState, state_of
from sweep.records.stop_requests import clear_stops, stops
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from trainables.errors import BadInputError
from trainables.storage.record_files import DamagedRecordError, find_record, read_record, record_names
from trainables.storage.trial_records import now_ms

BEAT_SECONDS = 3.0
STALE_SECONDS = 30.0
"""Age in seconds from which a lease is in doubt: the sweep has died, or its machine's clock differs."""
WATCH_SECONDS, GLANCE_SECONDS = 30.0, 7.0
"""Seconds that a lease in doubt is watched: before taking over or removing its sweep, and before describing it."""
OLD_SECONDS = 3600.0
"""Age in seconds from which a lease is dead, since clocks never differ that much."""


class SweepLease(BaseModel):
    """Lease of a running sweep: its owner, its trials and its state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    token: str
    host: str
    process: int = Field(ge=1, lt=2**31)
    machine: str = ""
    """System in which the process number is valid; see `process_identity`."""
    process_start: str = ""
    started_ms: int
    time_ms: int
    claims: tuple[str, ...]
    """Ids of the trials that the sweep is training."""
    taken_from: tuple[str, ...] = ()
    """Tokens of earlier owners, whose processes may wake up."""
    state: LiveState | None

    @property
    def age(self) -> float:
        """Seconds since the lease was renewed, by the clocks of two machines."""
        return (now_ms() - self.time_ms) / 1000

    @property
    def alive(self) -> bool:
        """Whether the owner still runs, judged by the lease's age."""
        return not self.ended and abs(self.age) < STALE_SECONDS

    @property
    def ended(self) -> bool:
        """Whether the owner's process has certainly ended."""
        here = self.host == socket.gethostname()
        return self.age > OLD_SECONDS or (here and has_ended(self.machine, self.process, self.process_start))

    @property
    def stopped(self) -> bool:
        """Whether the owner is a process of this machine that is stopped, as by Ctrl-Z, and may go on."""
        return not self.ended and self.machine == machine_identity() != "" and is_stopped(self.process)

    def described(self) -> str:
        """Return the owner in words, for a message."""
        return f"process {self.process} on {self.host}, last heard of {self.age:.0f} s ago"


class LeaseWatcher:
    """Watcher of leases in doubt: a lease that changes is alive, regardless of clocks."""

    def __init__(self, seconds: float) -> None:
        """Create a watcher that considers a lease in doubt dead if it doesn't change for `seconds`."""
        self._seconds = seconds
        self._seen: dict[str, tuple[int, float, bool]] = {}
        """By token: its time, since when it is known, and whether it has changed."""

    def runs(self, held: SweepLease) -> bool | None:
        """Return whether the lease's owner still runs; None while in doubt."""
        if held.ended or held.alive:
            return held.alive
        now = time.monotonic()
        seen_ms, since, changed = self._seen.get(held.token, (held.time_ms, now, False))
        if seen_ms != held.time_ms:
            since, changed = now, True
        self._seen[held.token] = held.time_ms, since, changed
        if now - since >= self._seconds:
            return False
        return True if changed else None


class LeaseHolder:
    """Holder of a running sweep's lease, which also checks for requests to stop."""

    def __init__(self, storage: SweepStorage, name: str, *, say: Callable[[str], None] = lambda _: None) -> None:
        """Create the holder; `say` prints a line if another owner's lease has to be watched first."""
        self._storage, self._name, self._token = storage, name, secrets.token_hex(8)
        self._say, self._watcher = say, LeaseWatcher(WATCH_SECONDS)
        self._started = now_ms()
        self._claims: set[str] = set()
        self._state: Callable[[], LiveState] | None = None
        self._stops: set[str] = set()
        self._taken_from: tuple[str, ...] = ()
        self._taken_over = ""
        self._written_ms = now_ms()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="live", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease; BadInputError if the sweep is running elsewhere."""
        holder = holder_of(self._storage, self._name, say=self._say)
        if holder is not None:
            raise BadInputError(
                f"sweep {self._name}: is running already ({holder.described()}); watch it with python -m sweep.status "
                f"{self._name}, stop it with python -m sweep.stop {self._name}"
            )
        clear_stops(self._storage, self._name)
        left = lease(self._storage, self._name)
        if left is not None:
            self._taken_from = (*left.taken_from, left.token)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the lease."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            held = lease(self._storage, self._name)
            if held is not None and held.token == self._token:
                self._storage.storage.delete(_path(self._name))

    def show(self, state: Callable[[], LiveState]) -> None:
        """Publish the sweep's state in the lease from now on; `state` is called in a background thread."""
        self._state = state

    def claim(self, trial_id: str) -> bool:
        """Claim a trial for this sweep unless another sweep trains it; return whether the claim succeeded.

        The claim is written before other leases are read. So if two sweeps claim a trial at once, at least one sees the
        other; if both do, both try again later.
        """
        with self._lock:
            self._claims.add(trial_id)
        if not self._renew():
            return False
        for other in leases(self._storage):
            if other.token != self._token and trial_id in other.claims and self._watcher.runs(other) is not False:
                self.release(trial_id)
                return False
        return True

    def release(self, trial_id: str) -> None:
        """Release the claim on a trial."""
        with self._lock:
            self._claims.discard(trial_id)
        with contextlib.suppress(OSError):  # the next beat says it
            self._renew()

    def asked_to_stop(self) -> set[str]:
        """Return the requests to stop that were found so far: EVERYTHING, or ids of trials."""
        return set(self._stops)

    @property
    def taken_over(self) -> str:
        """New owner of the sweep, in words; empty if this process still owns it."""
        return self._taken_over

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                if not self._renew():
                    return
                self._stops = set(stops(self._storage, self._name))

    def _renew(self) -> bool:
        """Renew the lease unless another process has taken it over; return whether this process still owns it."""
        self._taken_over = self._taken_over or self._new_holder()
        if not self._taken_over:
            self._write()
        return not self._taken_over

    def _new_holder(self) -> str:
        """Return the new owner in words, for a message; empty if there is none."""
        with contextlib.suppress(BadInputError):  # a torn file is nobody's
            held = read_record(self._storage.storage, _path(self._name), SweepLease)
            if held is None:
                # By the wall clock: the other one stands still while a machine is suspended.
                slept = now_ms() - self._written_ms > 1000 * STALE_SECONDS
                return "another process, which has ended since" if slept else ""
            known = {self._token, *self._taken_from}
            return "" if held.token in known or held.ended else held.described()
        return ""

    def _write(self) -> None:
        state = self._state() if self._state is not None else None
        with self._lock:
            record = SweepLease(
                name=self._name,
                token=self._token,
                host=socket.gethostname(),
                process=os.getpid(),
                machine=machine_identity(),
                process_start=start_time(os.getpid()),
                started_ms=self._started,
                time_ms=now_ms(),
                claims=tuple(sorted(self._claims)),
                taken_from=self._taken_from,
                state=state,
            )
            self._storage.storage.write(_path(self._name), record.model_dump_json().encode())
            self._written_ms = record.time_ms


def lease(storage: SweepStorage, name: str) -> SweepLease | None:
    """Return the lease of a sweep, or None if it ended; an invalid file is reported and counts as no lease."""
    return find_record(storage.storage, _path(name), SweepLease, consequence="nobody's")


def holder_of(
    storage: SweepStorage,
    name: str,
    *,
    watch_seconds: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SweepLease | None:
    """Return the lease of a running sweep, or None; a lease in doubt is watched for a change first.

    An unreadable lease is watched too, since its owner rewrites it every few seconds.

    Raises:
        BadInputError: The lease changes but can't be read, for example since another version wrote it.
    """
    seconds = WATCH_SECONDS if watch_seconds is None else watch_seconds
    watcher, said, torn = LeaseWatcher(seconds), False, _TornLease(seconds)
    while True:
        try:
            held = read_record(storage.storage, _path(name), SweepLease)
        except BadInputError as error:
            if torn.is_left(storage, name, error):
                lease(storage, name)  # which names it
                return None
            time.sleep(min(seconds, BEAT_SECONDS / 3))
            continue
        if held is None:
            return None
        runs = watcher.runs(held)
        if runs is not None:
            return held if runs else None
        if not said:
            said = True
            say(f"sweep {name}: {held.described()}, by this machine's clock; watching whether it is renewed")
        time.sleep(BEAT_SECONDS / 3)


class _TornLease:
    """Watcher of a lease file that can't be read."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._seen: str | None = None

    def is_left(self, storage: SweepStorage, name: str, error: BadInputError) -> bool:
        """Return whether the file hasn't changed for long enough; raise the error if it changes."""
        digest = None if isinstance(error, DamagedRecordError) else storage.storage.digest(_path(name))
        if self._seen not in (None, digest):
            raise error
        self._seen = digest
        return time.monotonic() >= self._until


def leases(storage: SweepStorage) -> list[SweepLease]:
    """Return the leases of all sweeps that haven't ended; invalid files are reported and left out."""
    names = record_names(storage.storage, "live", rf"{NAME}\.json")
    found = (lease(storage, name.removesuffix(".json")) for name in names)
    return [one for one in found if one is not None]


def current_state(storage: SweepStorage, record: SweepRecord, holder: SweepLease | None) -> LiveState:
    """Return the state of a sweep: as its lease publishes it, else computed from its trials' records."""
    said = holder.state if holder is not None else None
    return said if said is not None else state_of(record, storage)


def _path(name: str) -> str:
    return f"live/{name}.json"
