"""The job scripts' own logic, with stand-ins for Slurm, Ray and the sweep: what is started, how it ends, requeueing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.paths import ROOT
from support.slurm_stand_in import Job

SCRIPTS = ROOT / "deploy" / "slurm"
PYTHON = """#!/bin/bash
echo "python $*" >> "$CALLS"
case "$*" in
    -c*) exec {python} "$@" ;;
    *wait_for_nodes*)
        until grep -q '^ray start' "$CALLS"; do sleep 0.05; done
        exit "${{NODES_CODE:-0}}" ;;
    *sweep.status*) exit "${{STATUS_CODE:-2}}" ;;
    *sweep.stop*) touch "$CALLS.stop" ;;
    *sweep.run*)
        [[ -z ${{RUN_CODE:-}} ]] || exit "$RUN_CODE"
        until [[ -e $CALLS.stop && -z ${{STUBBORN:-}} ]]; do sleep 0.1; done
        exit 3 ;;
esac
"""
PROGRAM = """#!/bin/bash
echo "{name} $* cores=$SLURM_CPUS_PER_TASK token=$(stat -c %a "${{RAY_AUTH_TOKEN_PATH:-/dev/null}}")" >> "$CALLS"
[[ -z ${{STEP_CODE:-}} ]] || exit "$STEP_CODE"
exec sleep 600
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    commands = tmp_path / "venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "python").write_text(PYTHON.format(python=sys.executable))
    for name in ("ray", "torchrun"):
        (commands / name).write_text(PROGRAM.format(name=name))
    for file in commands.iterdir():
        file.chmod(0o755)
    return {
        "HOME": str(tmp_path / "home"),
        "SWEEP_HOME": str(ROOT),
        "SWEEP_VENV": str(tmp_path / "venv"),
        "SWEEP_STORAGE": str(tmp_path / "storage"),
        "SWEEP_HEAD_IP": "127.0.0.1",
        "CALLS": str(tmp_path / "calls"),
    }


def sweep_job(environment: dict[str, str], folder: Path, *options: str, nodes: int = 4, **more: str) -> Job:
    script = SCRIPTS / "sweep.sbatch"
    return Job(script, "mine", *options, folder=folder, environment=environment | more, nodes=nodes, cpus=8)


def calls(environment: dict[str, str], beginning: str = "") -> list[str]:
    file = Path(environment["CALLS"])
    return [line for line in file.read_text().splitlines() if line.startswith(beginning)] if file.exists() else []


def wait_for(environment: dict[str, str], beginning: str, count: int = 1) -> list[str]:
    deadline = time.monotonic() + 30
    while len(found := calls(environment, beginning)) < count:
        assert time.monotonic() < deadline, calls(environment)
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.s*")), ids=lambda script: script.name)
def test_shellcheck_and_bash_find_nothing(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    shellcheck = Path(sys.executable).with_name("shellcheck")
    command = [str(shellcheck), "--external-sources", "--source-path", str(ROOT), str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_one_head_with_its_cores_where_the_documentation_once_started_four(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with sweep_job(environment, tmp_path, "--space", "quickstart", RUN_CODE="0") as job:
        assert job.wait(120) == 0
        assert job.left() == []
        (head,) = calls(environment, "ray start")
    assert "--head --node-ip-address=127.0.0.1" in head
    assert "--num-cpus=8" in head
    assert head.endswith("cores=8 token=600")
    (run,) = calls(environment, "python -m sweep.run")
    assert run.endswith("--space quickstart")
    assert f"--name mine --storage {environment['SWEEP_STORAGE']} --address 127.0.0.1:" in run
    assert not list((tmp_path / "home" / ".sweep-slurm").iterdir())  # the job's token
    old = tmp_path / "old.sbatch"
    old.write_text("srun --nodes=1 -w node-0 ray start --head &\nsrun --nodes=3 -x node-0 ray start &\nwait -n\n")
    path = f"{environment['SWEEP_VENV']}/bin:{os.environ['PATH']}"
    Path(environment["CALLS"]).unlink()
    with Job(old, folder=tmp_path, environment=environment | {"PATH": path}, nodes=4):
        started = wait_for(environment, "ray start", 8)
    assert sum("--head" in line for line in started) == 4
    assert {line.split()[-2] for line in started} == {"cores=1"}


@pytest.mark.slow
def test_the_time_limit_stops_the_sweep_in_good_order_and_requeues_the_job(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with sweep_job(environment, tmp_path) as job:
        wait_for(environment, "python -m sweep.run")
        job.warn()
        assert job.wait(120) == 0
        assert job.requeued() == str(job.id)
        assert job.left() == []
        assert calls(environment, "python -m sweep.stop mine")
        assert "still in its epoch" not in job.log()


@pytest.mark.slow
def test_a_time_limit_just_before_the_script_waits_is_noticed(environment: dict[str, str], tmp_path: Path) -> None:
    slow = tmp_path / "slow.sh"  # read before the script, which then takes a second before it waits for the sweep
    slow.write_text("""trap '[[ $BASH_COMMAND != wait*sweep* ]] || sleep 1' DEBUG\n""")
    with sweep_job(environment, tmp_path, BASH_ENV=str(slow)) as job:
        wait_for(environment, "python -m sweep.run")
        job.warn()
        assert job.wait(60) == 0
        assert job.requeued() == str(job.id)


def test_a_sweep_that_was_begun_is_resumed(environment: dict[str, str], tmp_path: Path) -> None:
    with sweep_job(environment, tmp_path, "--space", "quickstart", RUN_CODE="0", STATUS_CODE="0") as job:
        assert job.wait(120) == 0
    assert calls(environment, "python -m sweep.run")[0].endswith("--space quickstart --resume mine")


@pytest.mark.slow
def test_a_trial_in_a_long_epoch_is_ended_after_the_grace(environment: dict[str, str], tmp_path: Path) -> None:
    with sweep_job(environment, tmp_path, STUBBORN="1", SWEEP_GRACE_SECONDS="1") as job:
        wait_for(environment, "python -m sweep.run")
        job.warn()
        assert job.wait(120) == 0
        assert "still in its epoch after 1 s" in job.log()
        assert job.requeued() == str(job.id)
        assert job.left() == []


@pytest.mark.slow
def test_scancel_stops_the_sweep_and_nobody_starts_it_again(environment: dict[str, str], tmp_path: Path) -> None:
    with sweep_job(environment, tmp_path) as job:
        wait_for(environment, "python -m sweep.run")
        job.warn(signal.SIGTERM)
        assert job.wait(120) == 3
        assert job.requeued() is None
        assert job.left() == []


@pytest.mark.parametrize("code", ["0", "1", "2", "3"])
def test_what_ends_by_itself_is_not_requeued(environment: dict[str, str], tmp_path: Path, code: str) -> None:
    with sweep_job(environment, tmp_path, RUN_CODE=code, nodes=1) as job:
        assert job.wait(120) == int(code)
        assert job.requeued() is None


@pytest.mark.slow
def test_a_head_that_does_not_start_ends_the_job(environment: dict[str, str], tmp_path: Path) -> None:
    with sweep_job(environment, tmp_path, NODES_CODE="1") as job:
        assert job.wait(120) == 1
        assert "Ray didn't start" in job.log()
        assert job.left() == []
    assert not calls(environment, "python -m sweep.run")


@pytest.mark.slow
def test_requeueing_has_an_end(environment: dict[str, str], tmp_path: Path) -> None:
    with sweep_job(environment, tmp_path, SWEEP_MAX_REQUEUES="0") as job:
        wait_for(environment, "python -m sweep.run")
        job.warn()
        assert job.wait(120) == 3
        assert job.requeued() is None


def array_task(environment: dict[str, str], folder: Path, task: int, **more: str) -> Job:
    (folder / "settings.txt").write_text("temperature=0.1 batch_size=32\ntemperature=0.5 batch_size=64\n")
    arguments = ("settings.txt", "dataset=digits")
    return Job(
        SCRIPTS / "trials.sbatch",
        *arguments,
        folder=folder,
        environment=environment | more,
        submitted_in=folder,
        cpus=2,
        task=task,
    )


@pytest.mark.slow
def test_tasks_of_an_array_have_their_own_settings_and_ports(environment: dict[str, str], tmp_path: Path) -> None:
    with array_task(environment, tmp_path, 1), array_task(environment, tmp_path, 2):
        started = sorted(wait_for(environment, "torchrun", 2), key=lambda line: "temperature=0.5" in line)
    for line, temperature, batch_size in zip(started, ("0.1", "0.5"), ("32", "64"), strict=True):
        assert f"--set dataset=digits --set temperature={temperature} --set batch_size={batch_size}" in line
    assert len({line.partition("--rdzv-endpoint=")[2].split()[0] for line in started}) == 2
    assert all("cores=2" in line for line in started)


def test_an_array_task_is_requeued_by_its_index_and_only_for_the_time_limit(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with array_task(environment, tmp_path, 2) as job:
        wait_for(environment, "torchrun")
        job.warn()
        assert job.wait(120) == 0
        assert job.requeued() == "77_2"
        assert job.left() == []
    with array_task(environment, tmp_path, 2, STEP_CODE="2") as job:
        assert job.wait(120) == 2
        assert job.requeued() is None
    with array_task(environment, tmp_path, 3) as job:
        assert job.wait(120) == 2
        assert "has no line 3" in job.log()


def test_the_warning_goes_to_the_script_alone_and_leaves_it_time() -> None:
    for name, least in (("sweep.sbatch", 600), ("trials.sbatch", 60)):
        text = (SCRIPTS / name).read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("#SBATCH --signal="))
        assert line.startswith("#SBATCH --signal=B:USR1@")
        assert int(line.partition("@")[2]) >= least
        assert "#SBATCH --requeue" in text
