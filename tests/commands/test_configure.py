"""`python -m sweep.configure`: a cluster file from options or answers on a terminal, and checks of one."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.page_commands import page_commands
from support.paths import ROOT

AWS_OPTIONS = [
    "--provider",
    "aws",
    "--region",
    "us-west-2",
    "--bucket",
    "my-sweeps",
    "--image",
    "ami-0123456789abcdef0",
]
AWS_OPTIONS += ["--security-group", "sg-0123456789abcdef0"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "key").touch(mode=0o600)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    """Return an environment without credentials of AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}


def configure(home: Path, *options: str, code: int = 0) -> tuple[str, str]:
    """Return what the command prints and its errors, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "sweep.configure", *options],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def local(home: Path) -> list[str]:
    machines = ["--provider", "local", "--head", "127.0.0.1", "--workers", "127.0.0.2,127.0.0.3"]
    return [*machines, "--ssh-user", "me", "--ssh-key", "~/key"]


def test_options_become_a_file_and_the_next_steps_are_named(home: Path) -> None:
    said, _ = configure(home, *local(home))
    config = yaml.safe_load((home / "my-cluster.yaml").read_text())
    assert config["provider"]["worker_ips"] == ["127.0.0.2", "127.0.0.3"]
    steps = [line.strip() for line in said.splitlines()]
    assert steps[0] == (
        f"my-cluster.yaml: cluster sweep-local, head 127.0.0.1, workers 127.0.0.2, 127.0.0.3, user me by {home}/key"
    )
    assert steps[2] == "make bundle"
    assert "secrets" in steps[3]
    assert steps[4:] == ["python -m sweep.configure --check my-cluster.yaml", "ray up -y my-cluster.yaml"]


def test_the_pages_commands_write_and_check_a_file(home: Path) -> None:
    command = page_commands(ROOT / "docs/cluster.md")["local configure"]
    names = {"HEAD_ADDRESS": "127.0.0.1", "WORKER_ADDRESSES": "127.0.0.2", "SSH_USER": "me", "SSH_KEY": "~/key"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env={**environment(home), **names, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert (home / "my-cluster.yaml").is_file()
    assert "~/.sweep-bundle isn't there: make bundle" in done.stdout


def test_a_file_that_is_there_is_kept_until_its_replacement_is_asked_for(home: Path) -> None:
    (home / "my-cluster.yaml").write_text("mine")
    _, error = configure(home, *local(home), code=2)
    assert error == "error: --output my-cluster.yaml: already exists; --overwrite replaces it, or choose another file\n"
    assert (home / "my-cluster.yaml").read_text() == "mine"
    configure(home, *local(home), "--overwrite")
    assert "head_ip: 127.0.0.1" in (home / "my-cluster.yaml").read_text()


def test_without_a_terminal_a_missing_answer_is_one_error_that_names_the_option(home: Path) -> None:
    assert configure(home, code=2)[1].startswith("error: not given: --provider ")
    _, error = configure(home, *AWS_OPTIONS, code=2)
    assert error == "error: not given: --zone (Availability zone of all machines)\n"
    assert not (home / "my-cluster.yaml").exists()


def test_an_image_that_aws_cannot_be_asked_for_is_one_that_a_person_gives(home: Path) -> None:
    options = [word for word in AWS_OPTIONS if word not in ("--image", "ami-0123456789abcdef0")]
    _, error = configure(home, *options, "--zone", "us-west-2a", code=2)
    why, lacks = error.splitlines()
    assert why.startswith("AWS's newest image can't be looked up: boto3 ")
    assert lacks.startswith("error: not given: --image (")


def test_on_a_terminal_what_lacks_is_asked_for_and_a_wrong_answer_asked_again(home: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "sweep.configure", *AWS_OPTIONS, "--max-workers", "2"]
    with subprocess.Popen(
        command,
        cwd=home,
        env=environment(home),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        # A zone elsewhere, one that is right, then Enter: instance type, market, name, user.
        os.write(master, b"us-east-1a\nus-west-2c\n\non-demand\n\n\n")
        said, _ = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert process.returncode == 0, said
    assert "--zone 'us-east-1a': is in another region than --region 'us-west-2'" in said
    assert "Instance type of the workers [g5.2xlarge]" in said
    config = yaml.safe_load((home / "my-cluster.yaml").read_text())
    assert config["provider"]["availability_zone"] == "us-west-2c"
    assert config["max_workers"] == 2
    assert "InstanceMarketOptions" not in config["available_node_types"]["gpu"]["node_config"]


def test_a_check_prints_what_is_found_and_ends_with_1_where_something_is_missing(home: Path) -> None:
    configure(home, *local(home))
    said, _ = configure(home, "--check", "my-cluster.yaml", code=1)
    rows = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "nothing is marked CHANGE" in rows["values"]
    assert "make bundle" in rows["bundle"]
    printed, _ = configure(home, "--check", "my-cluster.yaml", "--json", code=1)
    findings = json.loads(printed)["findings"]
    assert findings[0] == {"what": "file", "verdict": "ok", "text": "my-cluster.yaml"}
    assert {"what", "verdict", "text"} == set(findings[-1])


def test_a_check_of_a_file_that_is_not_there_says_so(home: Path) -> None:
    said, _ = configure(home, "--check", "none.yaml", code=1)
    assert "missing" in said
    assert "none.yaml: can't be read (No such file or directory)" in said
