"""How a sweep was started, as its record keeps it; light, since planning needs nothing else of a record."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict


class Launch(BaseModel):
    """How a sweep was started: what resuming it takes over unless told otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = ""
    written: dict[str, Any] | None = None
    """The space itself, where no module holds it (`sweep.space.written`)."""
    assignments: dict[str, tuple[Any, ...]] = {}
    smoke: bool = False
    workers: str = "1"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    share_gpus: int = 1
    no_reuse: bool = False
    memory: float | None = None
    """GiB that a worker needs, in place of the estimate."""

    def updated(self, typed: Self) -> Self:
        """Return this launch with what was typed now, where it isn't the default."""
        return self.model_copy(update=typed.model_dump(exclude_defaults=True))
