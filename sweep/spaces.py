"""List the search spaces, or print one as YAML, or the schema of such files: `python -m sweep.spaces`."""

from typing import Annotated

import typer

from sweep.console import options


def main(
    name: Annotated[
        str | None, typer.Argument(help="Space to print as YAML, as a start for your own; default: list all spaces.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            help="Print the JSON schema of YAML and TOML spaces, for editors.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """List the search spaces, print one as YAML, or print the JSON schema of such files."""
    from sweep.console.printing import say, say_json
    from sweep.space import known_spaces, load_space, written

    if schema:
        from sweep.planning.space_schema import space_schema

        say_json(space_schema())
    elif name is not None:
        import yaml

        for line in yaml.safe_dump(written(load_space(name)), sort_keys=False, width=120).splitlines():
            say(line)
    else:
        spaces = {known: load_space(known).description for known in known_spaces()}
        width = max(map(len, spaces))
        for known, description in spaces.items():
            say(f"{known:{width}}  {description}")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
