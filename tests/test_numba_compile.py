"""What numba compiles: where it is kept, and what several threads do with it."""

import threading
from typing import Any

import pytest

from trainables.numba_compile import compiled, in_threads

numba = pytest.importorskip("numba", reason="numba isn't installed: there is nothing to compile with")


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = numba.njit

    def refusing(*, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return whole(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled()(lambda number: number + 1)(2) == 3


def test_every_part_has_a_thread_and_errors_come_out() -> None:
    meeting = threading.Barrier(3, timeout=60.0)
    done: list[int] = []

    def work(part: int) -> None:
        meeting.wait()
        done.append(part)
        if part == 2:
            raise LookupError("no such part")

    with pytest.raises(LookupError, match="no such part"):
        in_threads(work, (1, 2, 3))
    assert sorted(done) == [1, 2, 3]
