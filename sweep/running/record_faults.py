"""Damaged records reported to the user: log messages of the readers become lines of the command's output."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainables.storage.record_files import logger


@contextmanager
def faults_said(say: Callable[[str], None]) -> Iterator[None]:
    """Pass each fault of a record to `say` during the context."""
    handler = _FaultHandler(say)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _FaultHandler(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())
