"""Location of a run: its storage, tracking server and cluster; a light module, which dry runs import too."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunLocation:
    """What a run of a sweep uses, and whom it tells."""

    storage: str
    tracking_uri: str | None = None
    address: str | None = None
    """Of a Ray cluster; None: Ray starts on this machine."""
    as_json: bool = False
    on_end: str = field(default="", repr=False)
    """A command or URL that gets the summary; it may hold secrets."""
    gpu_memory: float | None = None
    """GiB."""
    wait_minutes: float = 0.0
    """How long a cluster that doesn't answer is waited for."""
    from_python: bool = False
    """Whether a notebook or program runs it: a bar for progress, no redirected output, and the process goes on."""
    again: tuple[str, ...] = ()
    """Words after the command's own, for a process that goes on with it on another cluster."""
