"""Ray's private parts: that this Ray has each, that one file alone reads them, and what happens without them."""

import ast
import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.paths import ROOT
from support.ray_parts import hide_private_parts, is_private

from sweep.cluster import ray_private
from sweep.cluster.ray_names import ENVIRONMENT, LOCAL_ENVIRONMENT

FILE = ROOT / "sweep" / "cluster" / "ray_private.py"
FIELDS = ("creator_job_id", "creator_actor_id", "creator_actor_dead", "placement_group_id", "state", "bundles")
ACTOR_FIELDS = ("actor_id", "job_id", "placement_group_id", "required_resources")
PARTS = [
    ("ray._private.state", "state._connect_and_get_accessor"),
    ("ray._raylet", "GlobalStateAccessor.get_placement_group_table"),
    ("ray._raylet", "GlobalStateAccessor.get_actor_table"),
    ("ray._private.state", "state.job_table"),
    ("ray._raylet", "GcsClient"),
    ("ray._private.state", "state.get_cluster_config"),
    ("ray._private.worker", "global_worker"),
    ("ray.autoscaler._private.kuberay.node_provider", "KubernetesHttpApiClient.get"),
    ("ray.autoscaler._private.kuberay.node_provider", "IN_CLUSTER_TOKEN_PATH"),
    ("ray.autoscaler._private.kuberay.autoscaling_config", "_derive_autoscaling_config_from_ray_cr"),
    ("ray._private.ray_constants", "DEBUG_AUTOSCALING_ERROR"),
    ("ray._private.ray_constants", "DEBUG_AUTOSCALING_STATUS"),
    ("ray.autoscaler.v2.sdk", "get_cluster_status"),
    ("ray.experimental.internal_kv", "_internal_kv_get"),
    ("ray.core.generated.gcs_pb2", "PlacementGroupTableData.PlacementGroupState.REMOVED"),
    ("ray.core.generated.gcs_pb2", "PlacementGroupTableData.PlacementGroupState.CREATED"),
    ("ray.core.generated.gcs_pb2", "ActorTableData"),
    ("ray._private.authentication.authentication_utils", "is_token_auth_enabled"),
    ("ray.autoscaler._private.util", "prepare_config"),
    ("ray.autoscaler._private.util", "validate_config"),
    ("ray.tune.experiment", "Trial.pickled_error_file"),
    ("ray.tune.experiment", "Trial.error_file"),
    ("ray._raylet", "AuthenticationTokenLoader.reset_cache"),
    ("ray._raylet", "Config.initialize"),
    ("ray.exceptions", "ActorDiedError.BASE_ERROR_MSG"),
]
USES: dict[str, tuple[Callable[[], Any], Any]] = {
    "freeing orphaned placement groups": (ray_private.orphaned_placement_groups, []),
    "finding out who holds": (ray_private.resource_claims, ([], {})),
    "checking that both sides want a token": (ray_private.asks_for_token, None),
    "noticing that another cluster": (lambda: ray_private.cluster_id_at("127.0.0.1:1"), None),
    "reading the autoscaler's errors": (lambda: ray_private.autoscaler_errors("127.0.0.1:1"), []),
    "reading what the cluster can grow to from Ray's": (ray_private.reported_config, {}),
    "reading what the cluster can grow to from KubeRay": (lambda: ray_private.kuberay_config({}), None),
    "reaching a trial's actor": (lambda: ray_private.actor_of(SimpleNamespace()), None),
    "reading what an actor died of": (lambda: ray_private.error_file_of(SimpleNamespace()), None),
    "starting Ray a second time": (ray_private.forget_token, None),
    "checking a cluster file by Ray's schema": (lambda: ray_private.cluster_file_error({}), None),
    "shortening what an actor died of": (ray_private.death_heading, None),
}


def private_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if is_private(name)}


@pytest.fixture(autouse=True, scope="module")
def ray_as_connect_imports_it() -> Iterator[None]:
    """Some of the environment is read on import, and later tests of this process start Ray."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, **LOCAL_ENVIRONMENT}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_private, "_off", set())


@pytest.fixture
def without_private_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_private_parts(monkeypatch)


@pytest.mark.parametrize(("module", "part"), PARTS, ids=[f"{module}.{part}" for module, part in PARTS])
def test_this_ray_has(module: str, part: str) -> None:
    attrgetter(part)(import_module(module))


@pytest.mark.parametrize("field", FIELDS)
def test_this_ray_says_of_a_placement_group(field: str) -> None:
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData

    assert field in PlacementGroupTableData.DESCRIPTOR.fields_by_name


@pytest.mark.parametrize("field", ACTOR_FIELDS)
def test_this_ray_says_of_an_actor(field: str) -> None:
    from ray.core.generated.gcs_pb2 import ActorTableData

    assert field in ActorTableData.DESCRIPTOR.fields_by_name


def test_this_ray_has_the_actor_of_a_trial() -> None:
    from ray.tune.experiment import Trial

    assert Trial("any", stub=True).temporary_state.ray_actor is None


def test_the_list_above_names_all_that_the_file_imports() -> None:
    listed = {module for module, _ in PARTS} | {f"{module}.{part.split('.')[0]}" for module, part in PARTS}
    packages = {module.rpartition(".")[0] for module, _ in PARTS}
    assert private_imports(FILE) <= listed | packages


def test_one_file_reads_them() -> None:
    others = sorted((ROOT / "sweep").rglob("*.py")) + sorted((ROOT / "trainables").rglob("*.py"))
    assert FILE in others
    offenders = {str(path.relative_to(ROOT)): private_imports(path) for path in others if path != FILE}
    assert {path: names for path, names in offenders.items() if names} == {}


@pytest.mark.parametrize("feature", USES)
def test_without_it_the_feature_is_off_and_the_log_says_so_once(
    feature: str, without_private_parts: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray.exceptions

    monkeypatch.delattr(ray.exceptions, "ActorDiedError")
    use, neutral = USES[feature]
    with caplog.at_level(logging.WARNING):
        assert [use(), use()] == [neutral, neutral]
    (said,) = caplog.messages
    assert said.startswith(feature)
    assert " is off: this Ray, " in said


def test_without_them_no_placement_group_is_freed(without_private_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.cluster import worker_group

    freed: list[str] = []
    monkeypatch.setattr(worker_group, "free_placement_group", freed.append)
    worker_group.free_orphans()
    assert freed == []
