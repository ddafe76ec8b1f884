"""Compilation of functions for the CPU by numba, if it is installed."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def available() -> bool:
    """Return whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def compiled(*fastmath: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, and cache the result for other processes (numba_cache.py).

    `fastmath` names LLVM's allowed floating-point optimisations; without names all are allowed.
    """
    from numba import njit

    options: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath) or True, "error_model": "numpy"}

    def compile_when_called(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            with _kept_by_content():
                return njit(cache=True, **options)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # no folder can be written to
            return njit(**options)(function)  # type: ignore[no-any-return]

    return compile_when_called


@contextmanager
def _kept_by_content() -> Iterator[None]:
    """Make numba use our cache locators for functions decorated in this block; other packages are not affected."""
    from numba import config

    from trainables.kernels.numba_cache import LOCATORS

    before = config.CACHE_LOCATOR_CLASSES
    config.CACHE_LOCATOR_CLASSES = before or LOCATORS
    try:
        yield
    finally:
        config.CACHE_LOCATOR_CLASSES = before


def in_threads(work: Callable[[T], None], parts: Iterable[T]) -> None:
    """Process each part in its own thread; the first exception of a thread is raised again."""
    first, *others = parts
    if not others:
        work(first)
        return
    with ThreadPoolExecutor(len(others)) as pool:
        working = [pool.submit(work, part) for part in others]
        work(first)
        for each in working:
            each.result()
