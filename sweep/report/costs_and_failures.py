"""What the report says of costs, failures and data: plain values for its tables and sentences."""

from typing import TYPE_CHECKING, Any

from sweep.console.dataset_tables import notes, share
from sweep.records.trial_result import ORDERLY
from trainables.data.catalog import StoreInfo

if TYPE_CHECKING:
    from sweep.comparison.dataset_report import DataSetReport, TrialReport

MOST_CLASSES = 50
"""Classes that the page lists; `python -m sweep.data info` lists all."""


def troubles(part: "DataSetReport") -> list[dict[str, Any]]:
    """Return the trials that failed or needed more than one attempt because of failures."""
    return [
        {
            "trial": report.trial.entry.name,
            "status": report.trial.result.status,
            "before": report.trial.result.troubles,
            "attempts": len(report.attempts),
            "lost": hours(_lost(report)),
            "why": report.trial.result.failure or next((a.message for a in report.attempts[::-1] if a.message), ""),
        }
        for report in part.trials.values()
        if report.trial.result.status == "failed" or report.trial.result.troubles
    ]


def cost(part: "DataSetReport") -> str:
    """Return what all attempts took together, and what of it was lost to failures."""
    total = sum(report.hours for report in part.trials.values())
    lost = sum(_lost(report) for report in part.trials.values())
    said = f"{hours(total)} {part.unit} in all, every attempt counted"
    return f"{said}; {hours(lost)} of them in attempts that failed" if lost else said


def _lost(report: "TrialReport") -> float:
    return sum(attempt.hours for attempt in report.attempts if attempt.outcome not in ORDERLY)


def hours(value: float) -> str:
    """Return hours with two decimals, the few with two digits that say something."""
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def data_facts(store: StoreInfo) -> dict[str, Any]:
    """Return the tables and notes of a data set: shares of rules and classes in each split, leaks, origin."""
    counts = [
        *((f"rule {rule}", [store.rule_counts[rule][split] for split in store.splits]) for rule in store.rules),
        *(
            (name, [store.class_counts[split][number] for split in store.splits])
            for number, name in enumerate(store.class_names[:MOST_CLASSES])
        ),
    ]
    return {
        "rows": [
            (name, [share(count, images) for count, images in zip(own, store.splits.values(), strict=True)])
            for name, own in counts
        ],
        "more": max(0, len(store.class_names) - MOST_CLASSES),
        "notes": [line.strip() for line in notes(store)],
    }
