"""Private parts of Ray, each behind one guarded function: they are undocumented and may change with any version.

If the installed Ray lacks a part, the feature that needs it is off: the function returns a neutral value and logs this
once per process.

- orphaned placement groups: no public table contains a placement group's creator
- waiting trials: resources that the jobs of a cluster hold or request
- tokens: whether a process requires one from its callers
- joining: the reason why a head doesn't answer, with a time limit
- another cluster: the id of the cluster that answers at an address
- autoscaler errors: reasons why machines don't come
- growth: configuration of a cluster's autoscaler, from the head's state or KubeRay's custom resource
- silent trials: the actor of a Tune trial, which is asked to leave, or killed if it sends no heartbeat
- one token per start: deletion of the token that a process has cached
- a quick end: whether this process has left the cluster whose processes it then kills
- cluster files: Ray's schema of the file that `ray up` reads
- causes: Tune's files with an actor's error, and the heading of a dead actor's error
"""

import contextlib
import copy
import io
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_ACTOR = b"\xff" * 16
UNLIMITED = 2**31 - 1
"""Node count of a group without a limit; KubeRay uses the same value."""
log = logging.getLogger(__name__)
_off: set[str] = set()
"""Features that are off in this process."""


@dataclass(frozen=True)
class ResourceClaim:
    """Resources that are held or requested by a placement group, or by an actor outside of one."""

    claim_id: str
    job: str
    resources: Mapping[str, float]
    pending: bool
    """True while the resources are requested, False once they are held."""


def resource_claims() -> tuple[list[ResourceClaim], dict[str, str]]:
    """Return the resources that the cluster's jobs hold or request, and the commands of running jobs by job id."""
    with _feature("finding out who holds what trials wait for"):
        from ray._private.state import state
        from ray.core.generated.gcs_pb2 import ActorTableData, PlacementGroupTableData

        states = PlacementGroupTableData.PlacementGroupState
        accessor = state._connect_and_get_accessor()
        claims = []
        for content in accessor.get_placement_group_table():
            group = PlacementGroupTableData.FromString(content)
            if group.state != states.REMOVED:
                needed = _summed(bundle.unit_resources for bundle in group.bundles)
                made = group.placement_group_id.hex(), group.creator_job_id.hex()
                claims.append(ResourceClaim(*made, needed, pending=group.state != states.CREATED))
        for content in accessor.get_actor_table(None, "ALIVE"):
            actor = ActorTableData.FromString(content)
            if not actor.placement_group_id:
                claims.append(
                    ResourceClaim(
                        actor.actor_id.hex(), actor.job_id.hex(), dict(actor.required_resources), pending=False
                    )
                )
        running = [job for job in state.job_table() if not job["IsDead"]]
        return claims, {
            job["JobID"]: f"process {job['DriverPid']} on {job['DriverIPAddress']}: {job['Entrypoint']}"
            for job in running
        }
    return [], {}


def _summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0.0) + amount
    return total


def orphaned_placement_groups() -> list[str]:
    """Return the hex ids of this job's placement groups whose creating actor is dead."""
    with _feature("freeing orphaned placement groups"):
        import ray
        from ray._private.state import state
        from ray.core.generated.gcs_pb2 import PlacementGroupTableData

        job, removed = ray.get_runtime_context().get_job_id(), PlacementGroupTableData.PlacementGroupState.REMOVED
        contents = state._connect_and_get_accessor().get_placement_group_table()
        groups = [PlacementGroupTableData.FromString(content) for content in contents]
        ours = [group for group in groups if group.creator_job_id.hex() == job and group.state != removed]
        # A driver is no actor: Ray reports the creator of its groups as dead, although they live as long as the driver.
        made_by_actors = [group for group in ours if group.creator_actor_id != NO_ACTOR]
        return [group.placement_group_id.hex() for group in made_by_actors if group.creator_actor_dead]
    return []


def asks_for_token() -> bool | None:
    """Return whether Ray requires a token from callers in this process; None if unknown."""
    with _feature("checking that both sides want a token or none"):
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        return bool(is_token_auth_enabled())
    return None


def has_left() -> bool:
    """Return whether `ray.shutdown` has left the cluster, so that its processes may end; False if unknown."""
    with _feature("ending Ray's processes quickly"):
        from ray._private.worker import global_worker

        return not hasattr(global_worker, "core_worker")
    return False


def forget_token() -> None:
    """Make Ray read its token settings from the environment again; does nothing before Ray is imported.

    Call it after the environment's token has changed, since a process keeps the first token that it read.
    """
    if "ray" not in sys.modules:
        return
    with _feature("starting Ray a second time in one process with a token of its own"):
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def cluster_id_at(gcs_address: str) -> str | None:
    """Return the id of the cluster that answers at an address; None if unknown."""
    with _feature("noticing that another cluster has taken the place of the joined one"):
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.exceptions import RayError

        with contextlib.suppress(RayError):
            return str(GcsClient(address=gcs_address).cluster_id)
    return None


def head_fault(gcs_address: str) -> str:
    """Return the reason why no head answers at an address, or empty; up to 40 s if another program listens there."""
    with _feature("finding out in time that no Ray head answers"):
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.exceptions import RayError

        try:
            GcsClient(address=gcs_address)
        except RayError as error:
            return str(error) or type(error).__name__
    return ""


def autoscaler_errors(gcs_address: str) -> list[str]:
    """Return the autoscaler's own errors: why machines don't come; empty if it reports none."""
    found: dict[str, None] = {}
    with _feature("reading the autoscaler's errors"):
        from ray._private.ray_constants import DEBUG_AUTOSCALING_ERROR, DEBUG_AUTOSCALING_STATUS
        from ray.autoscaler.v2.sdk import get_cluster_status
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_get

        if error := _internal_kv_get(DEBUG_AUTOSCALING_ERROR):
            found[error.decode().strip().splitlines()[-1]] = None
        report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}").get("autoscaler_report") or {}
        for kind, record in (report.get("node_availability_summary") or {}).get("node_availabilities", {}).items():
            if why := record.get("unavailable_node_information"):
                found[f"{kind}: {why['category']}: {why['description']}"] = None
        with contextlib.suppress(RayError, ValueError, AssertionError):  # the first autoscaler has no such status
            for launch in get_cluster_status(gcs_address).failed_launches:
                found[f"{launch.ray_node_type_name}: {launch.details}"] = None
    return list(found)


def reported_config() -> dict[str, Any]:
    """Return the configuration that the joined cluster's autoscaler reported to the head; empty if there is none.

    The keys are those of the file that `ray up` takes, plus `max_resources`: the maximum of each resource.
    """
    with _feature("reading what the cluster can grow to from Ray's state"):
        from ray._private.state import state

        if config := state.get_cluster_config():
            groups = [
                (group.name, dict(group.resources), UNLIMITED if group.max_count < 0 else group.max_count)
                for group in config.node_group_configs
            ]
            return {
                "available_node_types": {
                    name: {"resources": resources, "max_workers": count} for name, resources, count in groups
                },
                "max_workers": sum(count for _, _, count in groups),
                "max_resources": dict(config.max_resources),
            }
    return {}


def kuberay_config(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the configuration of KubeRay's autoscaler in this head pod, from its RayCluster; None if unreadable.

    It is empty if the RayCluster has no autoscaler. Like Ray's own autoscaler, this function reads the resource with
    the pod's service account, to which the operator grants that right. An answer that isn't the resource raises an
    error.
    """
    with _feature("reading what the cluster can grow to from KubeRay's resource"):
        from ray.autoscaler._private.kuberay import autoscaling_config, node_provider

        beside_token = Path(node_provider.IN_CLUSTER_TOKEN_PATH).with_name("namespace")
        namespace = environment.get("RAY_CLUSTER_NAMESPACE") or beside_token.read_text().strip()
        client = node_provider.KubernetesHttpApiClient(namespace)
        resource = client.get(f"rayclusters/{environment['RAY_CLUSTER_NAME']}")
        if not resource["spec"].get("enableInTreeAutoscaling"):
            return {}
        return dict(autoscaling_config._derive_autoscaling_config_from_ray_cr(resource))
    return None


def cluster_file_error(config: dict[str, Any]) -> str | None:
    """Return the error of `ray up` for a cluster file's content; empty if it is valid, None if unknown."""
    with _feature("checking a cluster file by Ray's schema"):
        import jsonschema
        from ray.autoscaler._private.util import prepare_config, validate_config

        try:
            with _silenced("ray.autoscaler"):  # it logs each default
                validate_config(prepare_config(copy.deepcopy(config)))
        except jsonschema.ValidationError as error:
            return ": ".join(filter(None, ["/".join(map(str, error.absolute_path)), str(error.message)]))
        except Exception as error:  # a wrong file can raise any error
            return str(error)
        return ""
    return None


def actor_of(trial: Any) -> Any:
    """Return the actor that runs a `ray.tune.experiment.Trial`, or None."""
    with _feature("reaching a trial's actor, to kill it when it is silent and to await its last writes,"):
        return trial.temporary_state.ray_actor
    return None


def error_file_of(trial: Any) -> Path | None:
    """Return the error file of the actor of a `ray.tune.experiment.Trial`, or None.

    Tune also pickles the error, and would load that file when all trials have ended; so the pickle is removed.
    """
    with _feature("reading what an actor died of"):
        pickled, name = trial.pickled_error_file, trial.error_file
        trial.run_metadata.pickled_error_filename = None
        if pickled is not None:
            Path(pickled).unlink(missing_ok=True)
        return None if name is None else Path(name)
    return None


def death_heading() -> str | None:
    """Return the first line of a dead actor's error, which states only that the actor is dead."""
    with _feature("shortening what an actor died of"):
        from ray.exceptions import ActorDiedError

        return str(ActorDiedError.BASE_ERROR_MSG)
    return None


@contextlib.contextmanager
def _silenced(logger: str) -> Iterator[None]:
    """Suppress printed and logged output of a block."""
    its, said = logging.getLogger(logger), io.StringIO()
    level = its.level
    its.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield
    finally:
        its.setLevel(level)


@contextlib.contextmanager
def _feature(name: str) -> Iterator[None]:
    """Suppress errors from missing parts of Ray, and log once that the feature is off."""
    try:
        yield
    except (ImportError, AttributeError, TypeError) as missing:
        import ray  # imported here, since sweep/cluster/connection.py sets the environment that Ray reads on import

        if name not in _off:
            _off.add(name)
            log.warning("%s is off: this Ray, %s, lacks a private part (%s)", name, ray.__version__, missing)
