"""Findings of checks as a table, printed by `sweep.doctor` and `sweep.configure --check`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sweep.console.printing import screen, text
from trainables.redaction import redact

Verdict = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class CheckResult:
    """One line of the report."""

    what: str
    verdict: Verdict
    text: str


def print_findings(findings: Iterable[CheckResult]) -> None:
    """Print a table of findings, their verdicts in colour."""
    from rich import box
    from rich.table import Table

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(text(finding.what), text(finding.verdict, styles[finding.verdict]), text(redact(finding.text)))
    screen().print(table)


def any_missing(findings: Iterable[CheckResult]) -> bool:
    """Return whether something is missing: the command's exit code is 1 then."""
    return any(finding.verdict == "missing" for finding in findings)
