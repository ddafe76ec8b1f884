"""The background thread: what is joined, what is tried again, and that a dead store costs its caller nothing."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sweep.tracking.background_writer import BackgroundWriter, QueuedWrite, merged


class Surroundings:
    """A store that can be switched off."""

    def __init__(self) -> None:
        self.works, self.written, self.attempts = True, list[Any](), 0

    def write(self, *values: Any, subject: str = "t1", covers: bool = False) -> QueuedWrite:
        def perform(joined: list[Any]) -> None:
            self.attempts += 1
            if not self.works:
                raise OSError("gone")
            self.written.append(tuple(joined))

        return QueuedWrite(subject, "metrics" if values else "files", perform, list(values), covers)


@pytest.fixture
def place() -> Surroundings:
    return Surroundings()


@pytest.fixture
def writer(place: Surroundings) -> Iterator[BackgroundWriter]:
    writer = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None, pauses=(0.01, 0.01))
    yield writer
    writer.close(1.0)


def hang(release: threading.Event) -> None:
    release.wait(30.0)


def settle(writer: BackgroundWriter, place: Surroundings, attempts: int) -> None:
    deadline = time.monotonic() + 5.0
    while place.attempts < attempts and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)


def test_neighbouring_values_of_a_subject_become_one_write(place: Surroundings) -> None:
    writes = [place.write(1), place.write(7, subject="t2"), place.write(2), place.write(), place.write(3)]
    assert [(write.subject, write.values) for write in merged(writes)] == [("t1", [1, 2, 3]), ("t2", [7]), ("t1", [])]


def test_a_failure_is_tried_again_and_costs_nothing(place: Surroundings, writer: BackgroundWriter) -> None:
    place.works = False
    writer.submit(place.write(1))
    while place.attempts < 1:
        time.sleep(0.001)
    place.works = True
    assert writer.close(5.0) == 0
    assert place.written == [(1,)]


def test_a_dead_store_is_not_waited_for_by_each_write(place: Surroundings, writer: BackgroundWriter) -> None:
    place.works = False
    writer.submit(place.write(1))
    settle(writer, place, 3)
    for value in (2, 3):
        writer.submit(place.write(value))
        settle(writer, place, place.attempts + 1)
    assert place.attempts == 3 + 2
    assert writer.close(5.0) == 3


def test_a_covering_write_makes_up_for_what_was_lost(place: Surroundings, writer: BackgroundWriter) -> None:
    place.works = False
    writer.submit(place.write(1, 2))
    writer.submit(place.write(1, subject="t2"))
    settle(writer, place, 4)
    place.works = True
    writer.submit(place.write(covers=True))
    assert writer.close(5.0) == 1  # t2's


def test_a_covering_write_that_failed_is_done_once_the_store_is_back(
    place: Surroundings, writer: BackgroundWriter
) -> None:
    place.works = False
    writer.submit(place.write(covers=True))
    settle(writer, place, 3)
    place.works = True
    writer.submit(place.write(5, subject="t2"))
    assert writer.close(5.0) == 0
    assert place.written == [(5,), ()]


def test_closing_does_not_wait_for_a_store_that_hangs(writer: BackgroundWriter, place: Surroundings) -> None:
    release = threading.Event()
    writer.submit(QueuedWrite("t1", "files", lambda _: hang(release)))
    writer.submit(place.write(1))
    started = time.monotonic()
    assert writer.close(0.2) == 2
    assert time.monotonic() - started < 15.0, "not the thirty that it hangs"
    release.set()


@pytest.mark.slow
def test_closing_waits_while_writes_move(writer: BackgroundWriter) -> None:
    written = []

    def slowly(number: int) -> QueuedWrite:
        def perform(_: list[Any]) -> None:
            time.sleep(0.2)
            written.append(number)

        return QueuedWrite(f"t{number}", "files", perform)

    for number in range(8):
        writer.submit(slowly(number))
    assert writer.close(1.0) == 0  # 1.6 seconds of work
    assert written == list(range(8))


def test_lanes_keep_the_order_of_a_subject_and_write_side_by_side() -> None:
    writer = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None, lanes=4)
    written: dict[str, list[Any]] = {f"t{number}": [] for number in range(12)}
    release, hanging = threading.Event(), threading.Event()

    def block(_: list[Any]) -> None:
        hanging.set()
        release.wait(30.0)

    def show(subject: str, value: int) -> QueuedWrite:
        return QueuedWrite(subject, f"step {value}", lambda _: written[subject].append(value))

    writer.submit(QueuedWrite("slow", "hangs", block))
    assert hanging.wait(5.0)
    for value in range(20):
        for subject in written:
            writer.submit(show(subject, value))
    deadline = time.monotonic() + 5.0
    while list(range(20)) not in written.values():
        assert time.monotonic() < deadline, "lanes don't wait for one that hangs"
        time.sleep(0.005)
    release.set()
    assert writer.close(5.0) == 0
    assert all(values == list(range(20)) for values in written.values())


def test_a_lane_pays_what_another_owes(place: Surroundings) -> None:
    writer = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None, lanes=8, pauses=())
    place.works = False
    for number in range(6):
        writer.submit(place.write(subject=f"t{number}", covers=True))
    settle(writer, place, 6)
    place.works = True
    assert writer.missing == 6
    writer.submit(place.write(1, subject="another"))
    settle(writer, place, 13)
    assert writer.missing == 0
    assert writer.close(1.0) == 0


def test_what_the_store_refuses_is_named_once_and_blocks_nothing(
    place: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    def invalid(_: list[Any]) -> None:
        place.attempts += 1
        raise ValueError("Invalid metric name")

    writer = BackgroundWriter(
        logger=logging.getLogger("test"),
        recover=lambda: None,
        refused=lambda error: isinstance(error, ValueError),
        pauses=(30.0,),
    )
    with caplog.at_level(logging.WARNING):
        writer.submit(QueuedWrite("t1", "metrics", invalid, covers=True))
        writer.submit(place.write(1))
        assert writer.close(5.0) == 1
    assert place.written == [(1,)]
    assert place.attempts == 2
    assert [record.getMessage() for record in caplog.records] == [
        "metrics of t1 refused (ValueError: Invalid metric name)"
    ]
