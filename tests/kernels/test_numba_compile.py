"""What numba compiles: where it is kept, and what several threads do with it."""

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from trainables.kernels.numba_compile import compiled, in_threads

numba = pytest.importorskip("numba", reason="numba isn't installed: there is nothing to compile with")


SOURCE = """
from factors import FACTOR
from trainables.kernels.numba_compile import compiled

@compiled()
def scaled(number):
    return FACTOR * number
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """Return what makes the compiled function of a copy of SOURCE, as a job that ships its code has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(folder: str, factor: str) -> Any:
        factors = ModuleType("factors")
        exec(f"import numpy as np\nFACTOR = {factor}", factors.__dict__)
        monkeypatch.setitem(sys.modules, "factors", factors)
        path = tmp_path / folder / "scaling.py"
        path.parent.mkdir()
        path.write_text(SOURCE)
        spec = importlib.util.spec_from_file_location("scaling", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.scaled

    return load


def compilations(function: Any) -> int:
    return sum(function.stats.cache_misses.values())


def test_a_second_copy_of_the_code_compiles_nothing(shipped: Callable[[str, str], Any]) -> None:
    first = shipped("job-1", "2.0")
    assert (first(1.5), compilations(first)) == (3.0, 1)
    second = shipped("job-2", "2.0")
    assert (second(1.5), compilations(second)) == (3.0, 0)


@pytest.mark.parametrize("other", ["3.0", "np.float32(2.0)", "(2.0, 1)[0] + 1"])
def test_another_constant_of_another_module_is_not_taken_for_the_same(
    shipped: Callable[[str, str], Any], other: str
) -> None:
    shipped("job-1", "2.0")(1.5)
    second = shipped("job-2", other)
    assert (second(1.5), compilations(second)) == (1.5 * eval(other, {"np": np}), 1)


def test_a_folder_that_others_may_write_into_is_not_used(shipped: Callable[[str, str], Any], tmp_path: Path) -> None:
    shipped("job-1", "2.0")(1.5)
    kept = tmp_path / "cache" / "sweep" / "numba"
    assert kept.stat().st_mode & 0o777 == 0o700
    kept.chmod(0o777)
    second = shipped("job-2", "2.0")
    assert (second(1.5), compilations(second)) == (3.0, 1)
    assert list((tmp_path / "job-2" / "__pycache__").glob("*.nbi")), "numba's own place, beside the source"


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
