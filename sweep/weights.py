"""Published weights that evaluations and trials can start from: `python -m sweep.weights list`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sweep.console.app import run_app
from sweep.console.commands import Commands
from sweep.console.printing import say

app = Commands(
    help="List published encoders, and download one before a trial needs it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command("list")
def list_weights() -> None:
    """List the catalogue: encoder, bands, scale, normalisation, licence, source, address, digest, file."""
    from sweep.console.weights_list import weights_lines

    for line in weights_lines():
        say(line)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="Name in the catalogue: python -m sweep.weights list.")]) -> None:
    """Download one file of the catalogue and verify it; an existing file is only verified."""
    from trainables.errors import BadInputError
    from trainables.weights.catalog import CATALOG
    from trainables.weights.download import fetched, nearest_entry

    if name not in CATALOG:
        hint = nearest_entry(name) or f"; it has {', '.join(CATALOG)}"
        raise BadInputError(f"weights {name!r}: not in the catalogue{hint}")
    say(f"{name}: {fetched(CATALOG[name])}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_app(app, arguments, prog_name="python -m sweep.weights")


if __name__ == "__main__":
    main()
