"""View of MLflow's runs page on one sweep: its trials alone, the columns of its table, charts of results and epochs.

MLflow's pages read the view from a tag of the experiment, in the format in which they store shared views.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sweep.comparison.table import REPLICATED
from sweep.tracking.run_tags import BEST, PARENT, SETTING, STATUS
from trainables.metrics import names

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord

LATEST = "sweep"
"""Key of the view of the sweep that was written last."""
TAG = "mlflow.sharedViewState."
COMPRESSED = "deflate;"
"""Prefix of a compressed view: plain ones are longer than some servers allow a tag to be."""
MOST_RUNS = 100
"""Maximum number of trials in a chart."""
OF_TRAINING = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY)
OF_A_SPLIT = (names.TOP1, names.SENSITIVITY, names.SPECIFICITY, names.RMSE, names.FEATURE_RANK, names.LIDAR)
"""Metrics of each epoch that have a chart; a chart without values is hidden."""
NAME, CREATED = "attributes.`Run Name`", "attributes.start_time"
RESULTS, EPOCHS = "results", "epochs"
LETTER, LEAST, TEXT = 7, 90, 230
"""Widths in pixels: of a header's letter, of the narrowest column, and of the columns of names and settings."""


def view_key(sweep: str) -> str:
    """Return the key of a sweep's own view, by the sweep's name."""
    return f"{LATEST}.{sweep}"


def view_tag(key: str) -> str:
    """Return the experiment's tag that holds a view."""
    return f"{TAG}{key}"


def view_page(experiment: str, key: str = "") -> str:
    """Return the address, within MLflow's pages, of a view of the experiment's runs; without a key, of all runs."""
    shared = f"viewStateShareKey={quote(key, safe='')}&" if key else ""
    return f"#/experiments/{experiment}/runs?{shared}workflowType=machine_learning"


@dataclass(frozen=True)
class SharedView:
    """View of the trials of one sweep."""

    parent: str
    """Id of the sweep's run."""
    settings: tuple[str, ...]
    """Fields in which the trials differ."""
    metrics: tuple[str, ...]
    """The objective first."""
    ascending: bool
    """Whether small values of the objective are the best."""

    @classmethod
    def of(cls, sweep: "SweepRecord", parent: str, columns: Sequence[str]) -> "SharedView":
        """Return the view of a sweep whose run is `parent`, with the metrics of its table."""
        configs = [entry.config for entry in sweep.trials if entry.baseline is None]
        fields = dict.fromkeys(name for config in configs for name in config)
        varied = [name for name in fields if any(one.get(name) != configs[0].get(name) for one in configs)]
        metrics = dict.fromkeys((sweep.objective, *columns))
        return cls(parent, tuple(varied), tuple(metrics), sweep.direction == "min")

    @property
    def text(self) -> str:
        """The view as a tag's value, which MLflow's pages read."""
        packed = zlib.compress(json.dumps(self._state()).encode())
        return COMPRESSED + base64.b64encode(packed).decode()

    def _state(self) -> dict[str, Any]:
        columns = {
            f"tags.`{SETTING}`": TEXT,
            f"tags.`{BEST}`": _width(BEST),
            **{f"metrics.`{name}`": _width(name) for name in self.metrics},
            **{f"params.`{name}`": _width(name) for name in self.settings},
            f"tags.`{STATUS}`": _width(STATUS),
        }
        return {
            "searchFilter": f"tags.`{PARENT}` = '{self.parent}'",
            "orderByKey": f"metrics.`{self.metrics[0]}`",
            "orderByAsc": self.ascending,
            "selectedColumns": list(columns),
            "columnOrder": [NAME, CREATED, *columns],
            "columnWidths": {NAME: TEXT, **columns},
            "runsHiddenMode": "SHOWALL",
            "compareRunSections": [_section(RESULTS, "Results"), _section(EPOCHS, "By epoch")],
            "compareRunCharts": self._charts(),
            "isAccordionReordered": True,  # otherwise MLflow sorts the sections by name
            "hideEmptyCharts": True,
        }

    def _charts(self) -> list[Mapping[str, Any]]:
        axes = [name for name in self.settings if name not in REPLICATED]
        split = self.metrics[0].partition("/")[0]
        by_epoch = (*OF_TRAINING, *(f"{split}/{name}" for name in OF_A_SPLIT))
        parallel = {"selectedParams": axes, "selectedMetrics": [self.metrics[0]], "showAllRuns": True}
        return [
            *([_chart("PARALLEL", RESULTS, "settings", parallel)] if axes else []),
            *(_chart("BAR", RESULTS, name, {"metricKey": name}) for name in self.metrics),
            *(
                _chart("LINE", EPOCHS, name, {"metricKey": name, "selectedMetricKeys": [name], **LINE})
                for name in by_epoch
            ),
        ]


LINE = {
    "xAxisKey": "step",
    "xAxisScaleType": "linear",
    "scaleType": "linear",
    "range": {},
    "lineSmoothness": 0,
    "selectedXAxisMetricKey": "",
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}
"""Fields of a line chart that MLflow's pages expect."""


def _chart(kind: str, section: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "uuid": f"{section}-{name}",
        "type": kind,
        "metricSectionId": section,
        "displayName": name,
        "runsCountToCompare": MOST_RUNS,
        "isGenerated": False,
        "deleted": False,
        **fields,
    }


def _section(uuid: str, name: str) -> Mapping[str, Any]:
    return {"uuid": uuid, "name": name, "display": True, "isReordered": True, "isGenerated": False, "deleted": False}


def _width(name: str) -> int:
    """Return the width of a column in which its header, with the mark of sorting, isn't cut."""
    return max(LEAST, LETTER * len(name) + 40)
