"""Failure of an attempt: why it ended before its trial did."""

from dataclasses import dataclass
from typing import ClassVar

from trainables.printable_text import printable_lines
from trainables.redaction import redact


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended before the trial did; its texts are kept and shown without secrets."""

    kind: str
    message: str
    log: str = ""
    """A traceback; for the log, not for the table."""
    nodes: tuple[str, ...] = ()
    """Ids of machines one of which may turn out to have died, which would explain it."""

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
    """Kinds that another attempt may mend, and that are counted."""
