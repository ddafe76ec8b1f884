"""Write or check a cluster file before it costs money: `python -m sweep.configure [--check FILE]`."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cluster_setup.questions import AWS, LOCAL
from sweep.console import options
from sweep.console.printing import say, say_json

if TYPE_CHECKING:
    from sweep.cluster_setup.questions import Answers, SetupQuestion, Value

CHECK = "Check"
ON_AWS = "AWS"
OWN_MACHINES = "Your own machines"
_HELP = {
    question.name: question.text + ("; default: the template's." if question.usual else ".")
    for question in (*LOCAL, *AWS)
}


def main(
    check: Annotated[
        Path | None,
        typer.Option(
            help="Check this cluster file instead of writing one. Exit code 1: something is missing.",
            rich_help_panel=CHECK,
        ),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="aws, or local for your own machines.", rich_help_panel=options.WHAT)
    ] = None,
    output: Annotated[Path, typer.Option(help="Cluster file to write.", rich_help_panel=options.OUTPUT)] = Path(
        "my-cluster.yaml"
    ),
    overwrite: options.Overwrite = False,
    cluster_name: Annotated[str | None, typer.Option(help=_HELP["cluster_name"], rich_help_panel=options.WHAT)] = None,
    ssh_user: Annotated[str | None, typer.Option(help=_HELP["ssh_user"], rich_help_panel=options.WHAT)] = None,
    region: Annotated[str | None, typer.Option(help=_HELP["region"], rich_help_panel=ON_AWS)] = None,
    zone: Annotated[str | None, typer.Option(help=_HELP["zone"], rich_help_panel=ON_AWS)] = None,
    bucket: Annotated[str | None, typer.Option(help=_HELP["bucket"], rich_help_panel=ON_AWS)] = None,
    instance_type: Annotated[str | None, typer.Option(help=_HELP["instance_type"], rich_help_panel=ON_AWS)] = None,
    max_workers: Annotated[str | None, typer.Option(help=_HELP["max_workers"], rich_help_panel=ON_AWS)] = None,
    market: Annotated[str | None, typer.Option(help=_HELP["market"], rich_help_panel=ON_AWS)] = None,
    image: Annotated[str | None, typer.Option(help=_HELP["image"], rich_help_panel=ON_AWS)] = None,
    security_group: Annotated[str | None, typer.Option(help=_HELP["security_group"], rich_help_panel=ON_AWS)] = None,
    head: Annotated[str | None, typer.Option(help=_HELP["head"], rich_help_panel=OWN_MACHINES)] = None,
    workers: Annotated[str | None, typer.Option(help=_HELP["workers"], rich_help_panel=OWN_MACHINES)] = None,
    ssh_key: Annotated[str | None, typer.Option(help=_HELP["ssh_key"], rich_help_panel=OWN_MACHINES)] = None,
    log_in: Annotated[
        bool, typer.Option("--log-in", help="Also log in to your own machines by SSH.", rich_help_panel=CHECK)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --check: print JSON instead of text.", rich_help_panel=CHECK)
    ] = False,
) -> None:
    """Write a cluster file from answers, or check one, before `ray up` costs money (docs/cluster.md)."""
    from sweep.cluster_setup.answers import collect, provider_of
    from sweep.cluster_setup.cluster_file import filled, refuse_existing, write
    from sweep.cluster_setup.next_steps import next_steps
    from trainables.errors import BadInputError

    if check is not None:
        _check(check, bucket=bucket, log_in=log_in, as_json=as_json)
    refuse_existing(output, overwrite=overwrite)
    ask = _prompt if sys.stdin.isatty() else None
    if provider is None:
        if ask is None:
            raise BadInputError("not given: --provider (aws, or local: machines of your own)")
        provider = str(typer.prompt("aws, or local: machines of your own", value_proc=_asked_again(provider_of)))
    options = {
        "region": region,
        "zone": zone,
        "bucket": bucket,
        "instance_type": instance_type,
        "max_workers": max_workers,
        "market": market,
        "image": image,
        "security_group": security_group,
        "cluster_name": cluster_name,
        "ssh_user": ssh_user,
        "head": head,
        "workers": workers,
        "ssh_key": ssh_key,
    }
    answers = collect(provider_of(provider), options, ask, _suggested)
    write(output, filled(provider, answers), overwrite=overwrite)
    for line in next_steps(provider, answers, output).split("\n"):
        say(line)


def _check(path: Path, *, bucket: str | None, log_in: bool, as_json: bool) -> None:
    from sweep.cluster_setup.checks import check
    from sweep.console.findings import any_missing, print_findings

    findings = check(path, bucket=bucket, log_in=log_in)
    if as_json:
        say_json({"findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(findings)
    sys.exit(any_missing(findings))


def _prompt(question: "SetupQuestion", default: str | None, checked: Callable[[str], "Value"]) -> "Value":
    value: Value = typer.prompt(question.text, default=default, value_proc=_asked_again(checked))
    return value


def _asked_again(checked: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the check such that typer shows its error and asks again."""
    from trainables.errors import BadInputError

    def check(answer: str) -> Any:
        try:
            return checked(answer)
        except BadInputError as error:
            raise typer.BadParameter(str(error)) from error

    return check


def _suggested(question: "SetupQuestion", answers: "Answers") -> str | None:
    """Return AWS's newest image as the default for the image, and print the reason if AWS doesn't answer."""
    from sweep.cluster_setup.aws_calls import NoAnswerError, newest_image

    if question.name != "image" or "region" not in answers:
        return None
    try:
        return newest_image(str(answers["region"]))
    except NoAnswerError as error:
        say(f"AWS's newest image can't be looked up: {error}; docs/cluster.md, AWS, step 5", error=True)
        return None


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
