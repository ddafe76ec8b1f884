"""Report of a sweep as one HTML file that opens without a server or network, with figures and tables beside it.

report.html, figures/*.svg and *.png, tables/*.csv.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.comparison.axis_order import is_number
from sweep.comparison.conclusions import SMOKE_NOTICE, notes
from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.effects import NotComputed
from sweep.comparison.label_free_ranking import agreement_text
from sweep.comparison.split_comparison import SplitComparison
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import COLLAPSED, metric_words, spelled
from sweep.console.formatting import (
    axis_label,
    duration,
    interval,
    number,
    percent,
    signed_interval,
    signed_number,
    slug,
)
from sweep.console.output_files import file_name
from sweep.figures.trial_files import trial_figures
from sweep.records.sweep_storage import SweepStorage
from sweep.report.charts import InteractiveChart, page_script, plotly_packed, plotly_source
from sweep.report.comparison_figures import comparison_figures
from sweep.report.costs_and_failures import cost, data_facts, troubles
from sweep.report.csv_tables import as_csv, comparison_rows, ended_rows, epoch_rows, split_rows, trial_rows
from sweep.report.exploration_charts import exploration_charts, importance_chart
from sweep.report.inline_svg import inline_svg
from sweep.report.learning_curves import learning_curves
from sweep.report.missed_positives import missed_of
from sweep.report.page_tables import halved_rows, held_out_metrics, pivot_rows, setting_rows
from sweep.report.text_direction import isolated
from sweep.statistics.missed_positives import MissedPositives
from trainables.metrics.names import is_share
from trainables.printing.printable_text import printable_lines

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

    from sweep.report.comparison_figures import NamedFigure

PAGE = "report.html"
BROAD = 6.0
"""Width in inches from which a figure's text is too small on a phone."""
TEMPLATES = Path(__file__).parent / "templates"
MOST_DRAWN = 8
"""Maximum number of trials with their own figures, those of the best settings; MLflow has all."""
MOST_TOLD = 60
"""Maximum number of trials listed on the page, those of the best settings; tables/trials.csv has all."""


@dataclass(frozen=True)
class PageFigure:
    """Figure on the page; its files are beside the page under its name."""

    name: str
    svg: str
    title: str
    caption: str
    broad: bool
    """Whether the figure is too wide for a phone's screen, and scrolls there."""


@dataclass(frozen=True)
class DatasetSection:
    """Section of the page for one data set."""

    part: DataSetReport
    settings: list[dict[str, Any]]
    """Rows of the main table."""
    halved: list[dict[str, Any]]
    """Rows of the table of settings that halving stopped."""
    pivots: list[dict[str, Any]]
    missed: MissedPositives | None
    """Analysis of missed positives, for binary questions."""
    ranking: PageFigure | None
    drawn: list[PageFigure]
    trials: dict[str, list[PageFigure]]
    """Figures by trial id."""
    charts: list[InteractiveChart]
    """Interactive charts of many settings."""
    curves: InteractiveChart | None
    """Learning curves of all trials."""
    pictures: list[PageFigure] | NotComputed
    """Pictures of the data by the best trial, or the reason why there are none."""

    def is_text(self, axis: str) -> bool:
        """Whether an axis has values other than numbers, whose column is aligned to the left."""
        return not all(is_number(row.config[axis]) for row in (*self.part.table.settings, *self.part.table.halved))

    def has_interval(self, kind: str) -> bool:
        """Whether the main table shows an interval over seeds, or over images."""
        return any(cell[kind] for row in self.settings for cell in row["cells"])


def write_report(
    parts: Sequence[DataSetReport],
    images: "Sequence[list[NamedFigure] | NotComputed]",
    storage: SweepStorage,
    folder: Path,
    *,
    not_comparable: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    splits: Sequence[SplitComparison] = (),
) -> Path:
    """Write the report of a sweep into a new folder; return the path of its page.

    Args:
        parts: Reports, one per data set.
        images: Pictures of each data set, or the reason why there are none.
        storage: Storage of the sweep.
        folder: Folder of the page, its figures and tables.
        not_comparable: Sentences on sweeps that can't be compared, for several sweeps.
        links: Links to the other pages.
        splits: Settings on a random split beside a spatial one.
    """
    sweep = parts[0].sweep
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    prefixes = [f"{file_name(part.table.dataset)}_" if len(parts) > 1 else "" for part in parts]
    sections = [
        _section(part, own, prefix, storage, folder) for part, own, prefix in zip(parts, images, prefixes, strict=True)
    ]
    if splits:
        (folder / "tables" / "splits.csv").write_text(as_csv(split_rows(splits)), encoding="utf-8")
    charts = any(section.curves or section.charts for section in sections)
    script = page_script()
    page = _template().render(
        sweep=sweep,
        sections=sections,
        smoke=SMOKE_NOTICE if sweep.smoke else "",
        notes=[*notes(sweep, [part.table for part in parts], page=True), *not_comparable],
        links=links or {},
        splits=splits,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        most_told=MOST_TOLD,
        collapsed=COLLAPSED,
        script=script,
        plotly=plotly_packed() if charts else "",
        policy=content_policy([script, plotly_source()] if charts else [script]),
    )
    path = folder / PAGE
    path.write_text(isolated(page), encoding="utf-8")
    return path


def _template() -> "Template":
    """Return the template of the page, which escapes all texts and fails at unknown names."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= FILTERS
    environment.tests["share"] = is_share
    return environment.get_template("report.html.j2")


def content_policy(scripts: Sequence[str]) -> str:
    """Return a page's Content-Security-Policy, which allows only these scripts and no network requests."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(value: Any) -> Any:
    """Return a value for the template, with control and direction characters of foreign texts removed."""
    return printable_lines(value) if type(value) is str else value


def _section(
    part: DataSetReport, images: "list[NamedFigure] | NotComputed", prefix: str, storage: SweepStorage, folder: Path
) -> DatasetSection:
    """Write the files of one data set's section; return the section."""
    drawn = {name: _save(figure, folder, prefix + name, text) for name, figure, text in comparison_figures(part)}
    tables = {"comparison": comparison_rows(part), "trials": trial_rows(part), "epochs": epoch_rows(part)}
    if part.halved:
        tables["halved"] = ended_rows(part)
    for name, rows in tables.items():
        (folder / "tables" / f"{prefix}{name}.csv").write_text(as_csv(rows), encoding="utf-8")
    return DatasetSection(
        part,
        settings=setting_rows(part),
        halved=halved_rows(part),
        pivots=pivot_rows(part),
        missed=missed_of(part, TrialOutputs(storage)),
        ranking=drawn.pop("ranking", None),
        drawn=list(drawn.values()),
        trials=_trial_figures(part, storage, folder),
        charts=[*exploration_charts(part, prefix), *filter(None, [importance_chart(part, prefix)])],
        curves=learning_curves(part, prefix),
        pictures=images
        if isinstance(images, NotComputed)
        else [_save(one, folder, prefix + name, text) for name, one, text in images],
    )


def _trial_figures(part: DataSetReport, storage: SweepStorage, folder: Path) -> dict[str, list[PageFigure]]:
    return {
        trial_id: [
            _save(figure, folder, f"{file_name(report.trial.entry.name)}_{Path(path).stem}", "", png=False)
            for path, figure in trial_figures(storage.trial_of(report.trial.entry), splits=("test",), curves=False)
        ]
        for trial_id, report in list(part.trials.items())[:MOST_DRAWN]
    }


def _save(figure: "Figure", folder: Path, name: str, caption: str, *, png: bool = True) -> PageFigure:
    """Write a figure as SVG, and as PNG if wanted; return it for the page, in the page's colours."""
    import matplotlib as mpl

    from sweep.figures.fonts import drawn_by_browser, fit_for_png

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "image.composite_image": False}
    with mpl.rc_context(settings), drawn_by_browser():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    title, *below = figure.axes[0].get_title(loc="left").split("\n")
    if png:
        fit_for_png(figure)
        figure.savefig(folder / "figures" / f"{name}.png", facecolor="white")
    text = "; ".join(filter(None, (*below, caption)))
    return PageFigure(
        name,
        inline_svg(svg, name, alternative=f"{title}: {text}" if text else title),
        title,
        caption,
        figure.get_figwidth() > BROAD,
    )


def _when(time_ms: int | None) -> str:
    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "agreement": agreement_text,
    "axis": axis_label,
    "cost": cost,
    "duration": duration,
    "ends": signed_interval,
    "facts": data_facts,
    "held_out": held_out_metrics,
    "interval": interval,
    "number": number,
    "percent": percent,
    "signed": signed_number,
    "slug": slug,
    "spelled": spelled,
    "troubles": troubles,
    "when": _when,
    "words": metric_words,
}
"""Filters of the template, which format values as text."""
