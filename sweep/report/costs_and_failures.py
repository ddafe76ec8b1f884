"""Costs, failures and data of a report, as plain values for its tables and sentences."""

from typing import Any

from sweep.comparison.dataset_report import DataSetReport
from sweep.console.dataset_tables import notes
from sweep.console.formatting import count_and_share, duration
from trainables.data.bands import COLOURS, described_bands
from trainables.data.store_info import StoreInfo

MOST_CLASSES = 50
"""Maximum number of classes on the page; `python -m sweep.data info` lists all."""


def troubles(part: DataSetReport) -> list[dict[str, Any]]:
    """Return the trials that failed, or needed several attempts because of failures."""
    return [
        {
            "trial": report.trial.entry.name,
            "status": report.trial.result.status,
            "before": report.trial.result.troubles,
            "attempts": len(report.attempts),
            "lost": duration(3600 * report.lost_hours),
            "why": report.trial.result.failure or next((a.message for a in report.attempts[::-1] if a.message), ""),
        }
        for report in part.trials.values()
        if report.trial.result.status == "failed" or report.trial.result.troubles
    ]


def cost(part: DataSetReport) -> str:
    """Return the time of all attempts together, and the part that was lost to failures."""
    said = f"{duration(3600 * part.hours)} of {part.device} time in all, every attempt counted"
    return f"{said}; {duration(3600 * part.lost_hours)} of it in attempts that failed" if part.lost_hours else said


def _contents(store: StoreInfo) -> list[str]:
    """Return the bands of images that aren't plain red, green and blue, and how many images have labels."""
    bands = described_bands(store.channel_bands)
    labels = f"labels: {store.decisions.get('labels', '')}" if store.unlabelled else ""
    return [f"bands: {bands}"] * (store.channels != len(COLOURS)) + [labels] * bool(labels)


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
            (name, [count_and_share(count, images) for count, images in zip(own, store.labelled.values(), strict=True)])
            for name, own in counts
        ],
        "more": max(0, len(store.class_names) - MOST_CLASSES),
        "notes": [*_contents(store), *(line.strip() for line in notes(store))],
    }
