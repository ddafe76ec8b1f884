"""The cluster files, with Ray's own schema and config loader, as far as `ray up` goes without a cloud."""

import copy
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cluster_answers import AWS, LOCAL
from support.page_commands import page_commands
from support.paths import ROOT

from sweep.cluster.ray_names import DRIVER_RESOURCE
from sweep.cluster_setup.cluster_file import filled


def loaded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


@pytest.fixture(params=["cluster.yaml", "cluster.local.yaml", "written for aws", "written for local"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A cluster file of the checkout, or what sweep.configure makes of it."""
    if request.param.endswith(".yaml"):
        return loaded(request.param)
    provider = request.param.split()[-1]
    content: dict[str, Any] = yaml.safe_load(filled(provider, AWS if provider == "aws" else LOCAL))
    return content


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    ready: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(ready)
    return ready


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    assert prepared(config)["cluster_name"] == config["cluster_name"]


def test_a_field_that_ray_does_not_know_is_found(config: dict[str, Any]) -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        prepared({**config, "idle_timeout": 5})


def commands(config: dict[str, Any]) -> list[str]:
    kinds = ("setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    return [command for kind in kinds for command in config.get(kind, [])]


def scripts() -> str:
    return "".join(path.read_text() for path in sorted((ROOT / "deploy/cluster").glob("*.sh")))


def test_versions_are_pinned_and_the_token_is_read_on_every_node(config: dict[str, Any]) -> None:
    assert config["setup_commands"] == ["~/sweep-service/node_setup.sh"]
    setup = (ROOT / "deploy/cluster/node_setup.sh").read_text()
    assert "-c \"$bundle/constraints.txt\" 'sweep-service[cluster,search]'" in setup
    starts = [command for command in commands(config) if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith(". ~/sweep-service/environment.sh;") for command in starts)
    assert all("--disable-usage-stats" in command for command in starts)


def test_what_the_extra_brings_is_pinned() -> None:
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {"flask-wtf", "wtforms", "psycopg2-binary", "boto3"} <= pinned


def test_every_script_that_a_file_names_is_in_the_bundle(config: dict[str, Any]) -> None:
    named = {
        word for command in commands(config) for word in command.replace(";", " ").split() if "sweep-service" in word
    }
    assert named
    for word in named:
        assert (ROOT / "deploy/cluster" / word.removeprefix("~/sweep-service/")).is_file(), word


def test_secrets_keys_and_exports_do_not_travel(config: dict[str, Any]) -> None:
    assert {".env", "*.pem", "exports/"} <= set(config["rsync_exclude"])
    assert set(config["file_mounts"].values()) == {"~/.sweep-bundle", "~/.sweep-secrets"}


@pytest.mark.slow
def test_the_bundle_holds_the_code_its_pins_and_the_scripts_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    script = ROOT / "deploy/cluster/make_bundle.sh"
    subprocess.run([script, tmp_path / "bundle"], check=True, env=environment, capture_output=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    (wheel,) = (name for name in first if name.endswith(".whl"))
    assert {"constraints.txt", "node_setup.sh", "mlflow_service.sh", "mlflow_backup.py"} <= set(first)
    with zipfile.ZipFile(tmp_path / "bundle" / wheel) as archive:
        names = archive.namelist()
    assert "sweep/run.py" in names
    assert "search_spaces/quickstart.py" in names
    assert not [name for name in names if name.startswith("tests") or ".env" in name or name.endswith(".pem")]
    # The same code: nothing for `ray up` to bring again.
    subprocess.run([script, tmp_path / "bundle"], check=True, env=environment, capture_output=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == first


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    files = sorted((ROOT / "deploy/cluster").glob("*.sh"))
    done = subprocess.run(["shellcheck", "-S", "warning", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units_of_mlflows_server(tmp_path: Path) -> None:
    script = (ROOT / "deploy/cluster/mlflow_service.sh").read_text()
    start = script.index("write_units() {")
    function = script[start : script.index("\n}\n", start) + 3]
    values = f"here={ROOT}/deploy/cluster log={tmp_path}/mlflow.log unit=sweep-mlflow.service"
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run(["bash", "-euc", f"{values}\n{function}\nwrite_units"], env=environment, check=True)
    units = sorted((tmp_path / ".config/systemd/user").iterdir())
    assert [unit.name for unit in units] == [
        "sweep-mlflow-backup.service",
        "sweep-mlflow-backup.timer",
        "sweep-mlflow.service",
    ]
    command = ["systemd-analyze", "--user", "verify", *map(str, units)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_servers_listen_on_loopback_and_mlflow_wants_a_password(config: dict[str, Any]) -> None:
    assert config["head_start_ray_commands"][0] == "~/sweep-service/mlflow_service.sh start"
    server = (ROOT / "deploy/cluster/mlflow_service.sh").read_text()
    assert "mlflow server --app-name basic-auth --host 127.0.0.1" in server
    (head,) = (command for command in commands(config) if "ray start --head" in command)
    assert "--dashboard-host=127.0.0.1" in head


def test_nothing_secret_is_in_the_file(config: dict[str, Any]) -> None:
    for text in (*commands(config), scripts()):
        assert "PASSWORD=" not in text
        assert "TOKEN=" not in text


def test_the_local_file_has_a_key_for_its_workers_and_an_autoscaler_that_keeps_its_head() -> None:
    config = loaded("cluster.local.yaml")
    assert config["auth"]["ssh_private_key"]
    (head,) = (command for command in commands(config) if "ray start --head" in command)
    assert "RAY_enable_autoscaler_v2=0 ray start --head" in head


def test_aws_takes_a_group_made_beforehand_and_workers_are_spot_that_come_and_go() -> None:
    config = prepared(loaded("cluster.yaml"))
    assert "security_group" not in config["provider"]
    assert "," not in config["provider"]["availability_zone"]
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    for kind in (head, gpu):
        assert kind["node_config"]["SecurityGroupIds"] == ["sg-CHANGE"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"] == {"CPU": 0, DRIVER_RESOURCE: 1000}
    assert DRIVER_RESOURCE not in gpu["resources"]
    assert config["idle_timeout_minutes"] == 15


def test_the_secrets_of_the_page_serve_laptop_and_nodes_and_are_nobody_elses(tmp_path: Path) -> None:
    page = page_commands(ROOT / "docs/cluster.md")
    for name in ("own machines", "aws names"):
        laptop, node = tmp_path / name[:3] / "laptop", tmp_path / name[:3] / "node"
        laptop.mkdir(parents=True)
        script = page[name] + page["secrets"]
        subprocess.run(["bash", "-ec", script], check=True, env={**os.environ, "HOME": str(laptop)})
        files = sorted((laptop / ".sweep-secrets").iterdir())
        assert [file.name for file in files] == ["env", "head.env", "ray_token"]
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)
        assert "PASSWORD" not in files[0].read_text()
        shutil.copytree(laptop / ".sweep-secrets", node / ".sweep-secrets")
        for home in (laptop, node):
            look = ". ~/.sweep-secrets/env; . ~/.sweep-secrets/head.env; cat $RAY_AUTH_TOKEN_PATH; echo $MLFLOW_STORE"
            command = ["bash", "-ec", look]
            done = subprocess.run(command, check=True, env={"HOME": str(home)}, capture_output=True, text=True)
            token, store = done.stdout.split()
            assert len(token) == 64
            assert store in (f"sqlite:///{home}/.sweep-mlflow/mlflow.db", "postgresql+psycopg2:///mlflow")


def test_the_head_takes_the_password_out_of_what_its_workers_get(tmp_path: Path) -> None:
    secrets = tmp_path / ".sweep-secrets"
    secrets.mkdir()
    (secrets / "env").write_text("SWEEP_DATA=/share/stores\n")
    for number in ("1", "2"):
        # A second `ray up` brings the file again.
        (secrets / "head.env").write_text(f"MLFLOW_AUTH_ADMIN_PASSWORD=secret{number}\n")
        look = f". {ROOT}/deploy/cluster/head_secrets.sh; echo $SWEEP_DATA $MLFLOW_AUTH_ADMIN_PASSWORD"
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        done = subprocess.run(["bash", "-ec", look], check=True, env=environment, capture_output=True, text=True)
        assert done.stdout.split() == ["/share/stores", f"secret{number}"]
        assert [file.name for file in secrets.iterdir()] == ["env"]
        assert (tmp_path / ".sweep-head").stat().st_mode & 0o077 == 0
