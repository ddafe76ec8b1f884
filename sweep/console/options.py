"""Options that commands share which run a sweep."""

from typing import Annotated

import typer

Address = Annotated[
    str | None, typer.Option(help="Ray cluster, HOST:PORT or auto; default: Ray starts on this machine.")
]
WaitCluster = Annotated[
    float, typer.Option(min=0.0, metavar="MINUTES", help="How long to wait for a cluster that is away or gone.")
]
MaxConcurrent = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")]
