"""Failure of an attempt: why it ended before its trial did."""

from dataclasses import dataclass
from typing import ClassVar

from trainables.printing.printable_text import printable_lines
from trainables.printing.redaction import redact


@dataclass(frozen=True)
class AttemptFailure:
    """Failure of an attempt; its texts are stored and shown without secrets."""

    kind: str
    message: str
    log: str = ""
    """Traceback for the log; not shown in tables."""
    nodes: tuple[str, ...] = ()
    """Ids of the attempt's machines; if one turns out to have died, that explains the failure."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable_lines(redact(self.message)))
        object.__setattr__(self, "log", redact(self.log))

    CRASH: ClassVar = "crash"
    HUNG: ClassVar = "hung"
    LOST_NODE: ClassVar = "lost_node"
    OUT_OF_MEMORY: ClassVar = "out_of_memory"
    NON_FINITE: ClassVar = "non_finite_loss"
    BAD_INPUT: ClassVar = "bad_input"
    STORAGE: ClassVar = "storage"
    RETRIED: ClassVar = frozenset({CRASH, HUNG, STORAGE})
    """Kinds of failures that are retried and counted."""
