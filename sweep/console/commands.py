"""Typer application whose commands end in order at a signal, and refuse an option that is given twice."""

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from sweep.console.printing import say
from sweep.console.stop_signals import exit_code, reason_of, stop_signals
from trainables.errors import BadInputError

Function = TypeVar("Function", bound=Callable[..., Any])


class CheckedCommand(TyperCommand):
    """Command that refuses options that click would accept in silence: repeated ones, and those taken for values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            BadInputError: An option is given twice, or another option stands where its value should be.
        """
        self._check_options(ctx, list(args))
        return super().parse_args(ctx, args)

    def _check_options(self, ctx: Any, arguments: list[str]) -> None:
        options = [one for one in self.params if one.param_type_name == "option" and not vars(one)["multiple"]]
        parser = self.make_parser(ctx)
        for option in options:
            twin: Any = copy.copy(option)
            twin.multiple = True
            twin.add_to_parser(parser, ctx)
        found, _, _ = parser.parse_args(args=arguments)
        if found.get("help"):
            return
        names = {name for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)}
        for option in options:
            values = found.get(option.name) or []
            if swallowed := [value for value in values if value in names]:
                raise BadInputError(
                    f"{_name(option)}: followed by {swallowed[0]} instead of a value (a variable that isn't set?); "
                    "give one, or leave it out"
                )
            if len(values) > 1 and not _agree(option, values):
                raise BadInputError(_twice(option, values))


class Commands(typer.Typer):
    """Typer application of checked commands that signals interrupt."""

    def command(self, *arguments: Any, **options: Any) -> Callable[[Function], Function]:
        """Return the decorator that adds a command."""
        add = super().command(*arguments, cls=CheckedCommand, **options)

        def decorate(function: Function) -> Function:
            add(interruptible(function))
            return function

        return decorate


def interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command wrapped so that a signal of REASONS ends it with its exit code, as 130 for Ctrl-C."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            with stop_signals():
                return command(*arguments, **options)
        except KeyboardInterrupt as error:
            say(reason := reason_of(error), error=True)
            for line in getattr(error, "__notes__", ()):
                say(line, error=True)
            sys.exit(exit_code(reason))

    return run


def given_options(context: typer.Context | None) -> frozenset[str]:
    """Return the names of the parameters that are given on the command line, also those given their default."""
    if context is None:
        return frozenset()
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _agree(option: Any, values: list[Any]) -> bool:
    """Return whether a repetition says nothing new: a flag given twice."""
    return bool(option.is_flag) and len(set(values)) == 1


def _twice(option: Any, values: list[Any]) -> str:
    if option.is_flag:
        return f"{_name(option)} and {max(option.secondary_opts, key=len)}: give one of them"
    shown = ", ".join(repr(value) for value in values)
    return f"{_name(option)}: given {len(values)} times ({shown}); give it once"


def _name(option: Any) -> str:
    return str(max(option.opts, key=len))
