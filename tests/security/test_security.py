"""What listens, what is loaded, and what must not be written down."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from trainables.data.preparing.prepare import prepare

PACKAGES = ("sweep", "trainables", "search_spaces")
LISTEN = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
SECRET = "planted-s3cret"

SOCKETS = """
import os, sys
from pathlib import Path
from sweep.cluster.connection import connect
from sweep.cluster.processes import descendants

with connect(None):
    import ray

    @ray.remote
    def work():
        return os.getpid()

    ray.get(work.remote())
    inodes = set()
    for process in {os.getpid(), *descendants(os.getpid())}:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                print("SOCKET", fields[3], fields[1].split(":")[0])
"""


def program(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="open sockets are read from /proc")
def test_a_local_cluster_listens_on_loopback_only(tmp_path: Path) -> None:
    done = program("-c", SOCKETS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sockets = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("SOCKET")]
    listening = {address for state, address in sockets if state == LISTEN}
    assert listening, "Ray's servers listen somewhere"
    assert listening <= LOOPBACK


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def test_whatever_is_loaded_is_loaded_as_weights_only() -> None:
    loads = [
        (path.name, ast.unparse(call))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for call in calls(ast.parse(path.read_text()), "torch.load")
    ]
    assert loads
    for name, call in loads:
        assert "weights_only=True" in call, name


def test_usage_reporting_is_off() -> None:
    from sweep.cluster.ray_names import ENVIRONMENT
    from sweep.tracking.store import ENVIRONMENT as MLFLOW

    assert ENVIRONMENT["RAY_USAGE_STATS_ENABLED"] == "0"
    assert MLFLOW["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.slow
def test_a_secret_is_written_nowhere(tmp_path: Path) -> None:
    """Neither from the environment nor from the command line, into records, logs, or MLflow's database."""
    prepare("digits", root=tmp_path / "data")
    secrets = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN", "SWEEP_ON_END")
    environment = {**dict.fromkeys(secrets, f"exit 0 # {SECRET}"), "SWEEP_DATA": str(tmp_path / "data")}
    environment["RAY_AUTH_TOKEN"] = SECRET * 3
    tiny = ("epochs=1", "warmup_epochs=0", "max_train_images=64", "max_test_images=32", "batch_size=32")
    tiny += ("seed=0", "label_draw=0")
    done = program(
        *("-m", "sweep.run", "--space", "quickstart", "--set", "width_factor=0.125", "--max-concurrent", "1"),
        *(part for field in tiny for part in ("--set", field)),
        *("--on-end", f"exit 3 # {SECRET}"),
        cwd=tmp_path,
        **environment,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout
    assert SECRET not in done.stderr
    assert "--on-end: the summary wasn't delivered: the command's exit code is 3" in done.stderr
    written = [path for path in (tmp_path / ".sweep").rglob("*") if path.is_file()]
    assert len(written) > 20
    assert json.loads(next((tmp_path / ".sweep").rglob("on_end.json")).read_text())["fault"]
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_credentials_in_a_typed_address_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.running.provenance import command_line

    typed = [
        "run",
        "--tracking-uri",
        f"https://me:{SECRET}@host/x",
        "--on-end",
        SECRET,
        f"--on-end={SECRET}",
        "--smoke",
    ]
    monkeypatch.setattr(sys, "argv", typed)
    assert SECRET not in command_line()
    assert command_line().startswith("python -m sweep.run --tracking-uri 'https://***@host/x' --on-end '***'")
    assert command_line().endswith("--smoke")
    for program, words in {
        "/here/sweep/evaluate.py": "python -m sweep.evaluate",
        "/here/sweep/__main__.py": "python -m sweep",
        "/bin/sweep": "sweep",
    }.items():
        monkeypatch.setattr(sys, "argv", [program, "evaluate", "pool"])
        assert command_line() == f"{words} evaluate pool"
