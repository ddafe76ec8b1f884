"""The cluster files, with Ray's own schema and config loader, as far as `ray up` goes without a cloud."""

import copy
from typing import Any

import pytest
import yaml
from support.paths import ROOT

from sweep.cluster.ray_names import DRIVER_RESOURCE


def loaded(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


@pytest.fixture(params=["cluster.yaml", "cluster.local.yaml"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return loaded(request.param)


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    ready: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(ready)
    return ready


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    assert prepared(config)["cluster_name"].startswith("sweep")


def test_a_field_that_ray_does_not_know_is_found(config: dict[str, Any]) -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        prepared({**config, "idle_timeout": 5})


def commands(config: dict[str, Any]) -> list[str]:
    kinds = ("setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    return [command for kind in kinds for command in config.get(kind, [])]


def test_versions_are_pinned_and_the_token_is_read_on_every_node(config: dict[str, Any]) -> None:
    installs = [command for command in config["setup_commands"] if "pip install" in command]
    assert installs
    assert all("constraints.txt" in command for command in installs)
    starts = [command for command in commands(config) if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith(". ~/.sweep-secrets/env;") for command in starts)
    assert all("--disable-usage-stats" in command for command in starts)


def test_servers_listen_on_loopback_and_mlflow_wants_a_password(config: dict[str, Any]) -> None:
    (server,) = (command for command in commands(config) if "mlflow server" in command)
    assert "--app-name basic-auth" in server
    assert "--host 127.0.0.1" in server
    (head,) = (command for command in commands(config) if "ray start --head" in command)
    assert "--dashboard-host=127.0.0.1" in head


def test_nothing_secret_is_in_the_file(config: dict[str, Any]) -> None:
    for command in commands(config):
        assert "PASSWORD=" not in command
        assert "TOKEN=" not in command


def test_aws_opens_ssh_alone_and_workers_are_spot_that_come_and_go() -> None:
    config = prepared(loaded("cluster.yaml"))
    rules = config["provider"]["security_group"]["IpPermissions"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules] == [(22, 22)]
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"] == {"CPU": 0, DRIVER_RESOURCE: 1000}
    assert DRIVER_RESOURCE not in gpu["resources"]
    assert config["idle_timeout_minutes"] > 0
