"""The RayJob's command as KubeRay submits it, on a real head: only what may end otherwise is left to be tried again."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import RAY, head, wait_for_jobs

SCRIPT = ROOT / "deploy" / "kuberay" / "sweep_job.sh"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head's page; `python -m sweep.run` ends there with EXIT_CODE, where a job has that."""
    folder = tmp_path_factory.mktemp("stand-in")
    stand_in = folder / "python"
    stand_in.write_text(
        f'#!/bin/sh\n[ "$2" = sweep.run ] && [ -n "$EXIT_CODE" ] && exit $EXIT_CODE\nexec {sys.executable} "$@"\n'
    )
    stand_in.chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    port = free_port()
    options = (f"--dashboard-port={port}", "--dashboard-host=127.0.0.1", "--include-dashboard=true", "--num-cpus=0")
    environment = {"RAY_AUTH_MODE": "disabled", "PATH": path, "PYTHONPATH": str(ROOT)}
    with head(*options, environment=environment, port=free_port()):
        address = f"http://127.0.0.1:{port}"
        wait_for_jobs((RAY, "job", "submit", "--address", address), folder, environment)
        yield address


def entrypoint() -> str:
    """The file's command with a space that isn't there, and with the script where it is here."""
    job = yaml.safe_load((ROOT / "deploy" / "kuberay" / "rayjob.yaml").read_text())
    _, *options = job["spec"]["entrypoint"].split()
    return " ".join([str(SCRIPT), *options]).replace("eurosat_grid", "no_such_space")


def submit(page: str, name: str, *options: str) -> None:
    """Submit the command as KubeRay does."""
    job = f"{RAY} job submit --address {page} --no-wait --submission-id {name} {' '.join(options)} -- {entrypoint()}"
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    subprocess.run(["bash", "-c", job], env=environment, check=True, capture_output=True)


@pytest.mark.slow
def test_a_crash_is_tried_again_and_bad_input_and_a_sweep_that_was_stopped_are_not(page: str) -> None:
    from ray.job_submission import JobSubmissionClient

    submit(page, "refused")
    expected = {"refused": "STOPPED"}
    for code, status in ((0, "SUCCEEDED"), (1, "FAILED"), (3, "STOPPED"), (137, "FAILED")):
        submit(page, f"code-{code}", f"""--runtime-env-json '{{"env_vars": {{"EXIT_CODE": "{code}"}}}}'""")
        expected[f"code-{code}"] = status
    client = JobSubmissionClient(page)
    deadline = time.monotonic() + 240
    while not all(client.get_job_status(name).is_terminal() for name in expected):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert {name: client.get_job_status(name).value for name in expected} == expected
    said = client.get_job_logs("refused")
    assert "error: " in said
    assert "no_such_space" in said


def test_shellcheck_finds_nothing() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
