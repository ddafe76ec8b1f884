"""Location of a run: its storage, tracking server and cluster; a light module, which dry runs import too."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunLocation:
    """Location of a run: storage, tracking server, cluster, and the receiver of its summary."""

    storage: str
    tracking_uri: str | None = None
    address: str | None = None
    """Address of a Ray cluster; None: Ray starts on this machine."""
    as_json: bool = False
    on_end: str = field(default="", repr=False)
    """Command or URL that receives the summary; it may contain secrets."""
    gpu_memory: float | None = None
    """Memory of a GPU in GiB."""
    wait_minutes: float = 0.0
    """Minutes to wait for a cluster that doesn't answer."""
    from_python: bool = False
    """Whether a notebook or program runs it: progress bar, no redirected output, and the process continues."""
    again: tuple[str, ...] = ()
    """Arguments added to the command for a restarted process on another cluster."""
