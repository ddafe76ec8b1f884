"""What the doctor sees, and what it makes of it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.cluster import node_check
from sweep.cluster.node_check import NodeFacts, examine, facts_of, judge, judge_autoscaler
from sweep.console.findings import CheckResult

WELL = NodeFacts(
    host="a",
    versions={"python": "3.11.7", "torch": "2.14.1"},
    gpus=["A10G 24 GiB"],
    skew_seconds=0.1,
    sees_storage=True,
    stores={"eurosat": "aa"},
    free_gib=100.0,
)


def verdicts(*nodes: NodeFacts, drivers: bool = True) -> dict[str, CheckResult]:
    return {finding.what: finding for finding in judge(nodes, {"eurosat": "aa"}, drivers=drivers)}


def test_all_is_well() -> None:
    found = verdicts(WELL, dataclasses.replace(WELL, host="b", gpus=[]))
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert found["GPUs"].text == "a: A10G 24 GiB"


@pytest.mark.parametrize(
    ("change", "what", "text"),
    [
        ({"versions": {"python": "3.11.7", "torch": "2.13.0"}}, "versions", "torch: a 2.14.1, b 2.13.0"),
        ({"versions": {"python": "3.11.7"}}, "versions", "torch: a 2.14.1, b not there"),
        ({"skew_seconds": -61.0}, "clocks", "b -61.0 s"),
        ({"sees_storage": False}, "storage", "b don't see it"),
        ({"stores": {}}, "data eurosat", "b lack it"),
        ({"stores": {"eurosat": "bb"}}, "data eurosat", "b lack it"),
    ],
)
def test_what_is_missing_is_named_with_its_machine(change: dict[str, object], what: str, text: str) -> None:
    found = verdicts(WELL, dataclasses.replace(WELL, host="b", **change))  # type: ignore[arg-type]
    assert found[what].verdict == "missing"
    assert text in found[what].text
    assert [name for name, finding in found.items() if finding.verdict == "missing"] == [what]


def test_what_a_check_takes_is_no_clock_skew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((100.0, 160.0))  # a minute behind, and a minute of looking
    monkeypatch.setattr(node_check, "_sees_storage", lambda *_: True)
    monkeypatch.setattr(node_check.time, "time", lambda: next(now))
    answer = examine(str(tmp_path), "written", sent=159.0)
    assert facts_of(answer, back=221.0).skew_seconds == -60.0


def test_warnings() -> None:
    found = verdicts(dataclasses.replace(WELL, free_gib=1.0), drivers=False)
    assert found["disk"].verdict == found["drivers"].verdict == "warning"


def test_gpus_that_an_autoscaler_can_add_are_said() -> None:
    bare = dataclasses.replace(WELL, gpus=[])
    text = {n: next(one.text for one in judge([bare], gpus_in_reach=n) if one.what == "GPUs") for n in (0.0, 8.0)}
    assert text[0.0] == "none: trials run on CPUs"
    assert text[8.0] == "none yet; the autoscaler can add 8 when trials ask for them"


def test_a_data_set_that_the_run_prepares_is_not_missing() -> None:
    bare = dataclasses.replace(WELL, stores={})
    found = [one for one in judge([bare], {"digits": ""}) if one.what == "data digits"]
    assert found == [CheckResult("data digits", "ok", "the run prepares it")]
    (several,) = (one for one in judge([bare, bare], {"digits": ""}) if one.what == "data digits")
    assert several.verdict == "warning"
    (prepared,) = (one for one in judge([bare], {"digits": "aa"}) if one.what == "data digits")
    assert prepared.verdict == "missing", "this machine has it, that one not"


def test_errors_of_the_autoscaler_are_said_with_what_mends_them() -> None:
    error = "gpu: VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows"
    (finding,) = judge_autoscaler([error])
    assert (finding.what, finding.verdict) == ("autoscaler", "missing")
    assert finding.text.startswith(f"{error}; ask for a higher quota")
    (role,) = judge_autoscaler(["AuthFailure.ServiceLinkedRoleCreationNotPermitted"])
    assert "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com" in role.text


@pytest.mark.slow
def test_it_asks_every_machine_of_a_cluster(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys\n"
        "os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'\n"
        "from ray.cluster_utils import Cluster\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False})\n"
        "cluster.add_node(num_cpus=1)\n"
        "command = [sys.executable, '-m', 'sweep.doctor', '--json', '--address', cluster.address]\n"
        "code = subprocess.run(command).returncode\n"
        "cluster.shutdown()\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(tmp_path / "data")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    report = json.loads(line)
    assert len(report["nodes"]) == 2
    assert all(node["sees_storage"] and abs(node["skew_seconds"]) < 10 for node in report["nodes"])
    assert {finding["what"]: finding["verdict"] for finding in report["findings"]}["drivers"] == "warning"
