"""Check results as a table, printed by `sweep.doctor` and `sweep.configure --check`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sweep.console.printing import screen, text
from trainables.printing.redaction import redact

Verdict = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class CheckResult:
    """Result of one check: a line of the table."""

    what: str
    verdict: Verdict
    text: str


def print_findings(findings: Iterable[CheckResult]) -> None:
    """Print a table of check results, with coloured verdicts."""
    from rich import box
    from rich.table import Table

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(text(finding.what), text(finding.verdict, styles[finding.verdict]), text(redact(finding.text)))
    screen().print(table)


def any_missing(findings: Iterable[CheckResult]) -> bool:
    """Return whether a check result is `missing`, for which the command's exit code is 1."""
    return any(finding.verdict == "missing" for finding in findings)
