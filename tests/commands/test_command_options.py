"""`--help` of every command reads in sections, and an option that commands share is declared once."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import typer.main

from sweep.__main__ import app
from sweep.console import options
from sweep.console.commands import CheckedCommand

SECTIONS = (options.WHAT, options.WHERE, options.BUDGET, options.FAILURES, options.OUTPUT)
SHARED = ("storage", "tracking_uri", "address", "overwrite", "max_concurrent")


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} ")
        else:
            yield prefix + name, command


def every_command() -> dict[str, Any]:
    return dict(commands(typer.main.get_command(app)))


def test_every_option_stands_in_a_section_and_says_what_it_does() -> None:
    found = every_command()
    assert {"run", "compare", "data prepare"} <= set(found)
    for name, command in found.items():
        assert command.help, name
        for option in command.params:
            if option.param_type_name == "option":
                assert option.rich_help_panel, f"{name} {option.opts}"
            assert option.help, f"{name} {option.opts}"


def test_the_sections_of_a_run_come_in_order() -> None:
    panels = [option.rich_help_panel for option in every_command()["run"].params]
    assert tuple(dict.fromkeys(panels)) == SECTIONS


def test_options_of_one_name_have_one_text() -> None:
    texts = defaultdict(set)
    for name, command in every_command().items():
        for option in command.params:
            if option.param_type_name == "option" and name != "ui" and option.name in SHARED:
                texts[option.name].add(option.help)
    assert {name: len(found) for name, found in texts.items()} == dict.fromkeys(texts, 1)
    assert len(texts) == 5


def test_every_command_refuses_repeated_options_and_hears_signals() -> None:
    for name, command in every_command().items():
        assert isinstance(command, CheckedCommand), name
        assert command.callback.__wrapped__.__wrapped__, f"{name} is interruptible"
