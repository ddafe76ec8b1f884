"""SkyPilot's task file: its fields, its shell, and what its nodes do, with stand-ins for Ray and the sweep."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.paths import ROOT

RAY = """#!{python}
import pathlib, signal, socket, sys
with pathlib.Path({calls!r}).open("a") as calls:
    print(*sys.argv[1:], file=calls)
if "--head" in sys.argv:
    port = next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("--port="))
    server = socket.create_server(("127.0.0.1", port))
signal.pause()
"""
PYTHON = """#!/bin/bash
case "$*" in
    *wait_for_nodes*) until grep -q -- --address={address} {calls}; do sleep 0.1; done ;;
    *sweep.run*) echo "$*" >> {calls}; exit 3 ;;
esac
"""


@pytest.fixture
def task() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "skypilot" / "sweep.yaml").read_text())
    return content


def test_its_machines_are_spot_its_versions_pinned_and_its_token_is_a_secret(task: dict[str, Any]) -> None:
    assert set(task) == {"name", "workdir", "num_nodes", "resources", "envs", "secrets", "setup", "run"}
    assert task["resources"]["use_spot"] is True
    assert task["secrets"] == {"RAY_AUTH_TOKEN": None}
    assert "constraints.txt" in task["setup"]
    assert "RAY_AUTH_MODE=token" in task["run"]


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_finds_nothing(task: dict[str, Any], part: str, tmp_path: Path) -> None:
    script = tmp_path / part
    script.write_text("#!/usr/bin/env bash\n" + task[part])
    shellcheck = str(Path(sys.executable).with_name("shellcheck"))
    # What SkyPilot sets is assigned nowhere.
    command = [shellcheck, "--exclude=SC2154", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_one_node_is_the_head_the_others_join_it_and_all_end_with_the_sweep(
    task: dict[str, Any], tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    calls = tmp_path / "calls"
    commands = tmp_path / "sweep-venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "ray").write_text(RAY.format(python=sys.executable, calls=str(calls)))
    (commands / "python").write_text(PYTHON.format(calls=calls, address=f"127.0.0.1:{port}"))
    for file in commands.iterdir():
        file.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NUM_GPUS_PER_NODE": "1",
        "SPACE": "quickstart",
        "STORAGE": "s3://bucket/sweeps",
        "MLFLOW_TRACKING_URI": "",
    }
    script = task["run"].replace("6379", port)
    nodes = [subprocess.Popen(["bash", "-c", script], env={**environment, "SKYPILOT_NODE_RANK": rank}) for rank in "01"]
    try:
        assert [node.wait(60) for node in nodes] == [3, 0]
    finally:
        for node in nodes:
            node.kill()
            node.wait()
    lines = calls.read_text().splitlines()
    assert [("--head" in line, f"--address=127.0.0.1:{port}" in line) for line in lines[:2]] == [
        (True, False),
        (False, True),
    ]
    assert lines[2:] == [f"-m sweep.run --space quickstart --address 127.0.0.1:{port} --storage s3://bucket/sweeps"]
