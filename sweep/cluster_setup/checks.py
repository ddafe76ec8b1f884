"""All checks of a cluster file before `ray up`; a failing check doesn't stop the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from sweep.cluster_setup.account_checks import (
    check_bucket,
    check_credentials,
    check_quota,
    check_role,
    check_spot_role,
)
from sweep.cluster_setup.aws_calls import AwsApi, NoAnswerError, answered
from sweep.cluster_setup.aws_nodes import AwsCluster, aws_cluster
from sweep.cluster_setup.cluster_file import read
from sweep.cluster_setup.laptop_checks import SCHEMA, buckets_of, check_bundle, check_content, check_key, check_secrets
from sweep.cluster_setup.network_checks import (
    check_bare_types,
    check_group,
    check_image,
    check_instance_type,
    check_zones,
)
from sweep.cluster_setup.price_checks import check_prices
from sweep.cluster_setup.ssh_checks import check_machines
from sweep.console.findings import CheckResult, any_missing
from trainables.errors import BadInputError

_AT_ONCE = 8
_Named = tuple[str, Callable[[], Iterable[CheckResult]]]


def check(path: Path, *, bucket: str | None = None, log_in: bool = False) -> list[CheckResult]:
    """Return the check results for a cluster file, for the local files that it needs, and for its machines or AWS.

    Args:
        path: Cluster file for `ray up`, written by `sweep.configure` or by hand.
        bucket: Bucket to check in addition to those in the secrets.
        log_in: Whether to test the SSH login to on-premises machines.
    """
    try:
        text, config = read(path)
    except BadInputError as error:
        return [CheckResult("file", "missing", str(error))]
    findings = [CheckResult("file", "ok", str(path)), *check_content(text, config)]
    refused = any_missing(finding for finding in findings if finding.what == SCHEMA)
    findings += [check_bundle(config), check_secrets(config), check_key(config)]
    kind = config["provider"].get("type")
    if refused:
        return [*findings, CheckResult("machines", "warning", "not checked until Ray accepts the file")]
    if kind == "aws":
        return findings + _check_aws(config, bucket)
    if kind == "local":
        return findings + check_machines(config, log_in=log_in)
    return [*findings, CheckResult("provider", "warning", f"{kind}: its machines can't be checked, aws and local can")]


def _check_aws(config: dict[str, Any], bucket: str | None) -> list[CheckResult]:
    try:
        cluster = aws_cluster(config)
    except (AttributeError, TypeError, ValueError) as error:
        return [CheckResult("machines", "missing", f"available_node_types: not as cluster.yaml has them: {error}")]
    if not cluster.region:
        return [CheckResult("region", "missing", "provider has no region")]
    try:
        aws = AwsApi(cluster.region)
    except ImportError:
        return [CheckResult("AWS", "missing", "not asked: boto3 isn't installed; the extra `cluster` brings it")]
    except NoAnswerError as error:
        return [CheckResult("credentials", "missing", str(error))]
    if not aws.has_credentials():
        text = "boto3 finds none, so AWS isn't asked: aws configure, aws sso login, or AWS_PROFILE"
        return [CheckResult("credentials", "missing", text)]
    buckets = buckets_of(config)
    if bucket is not None:
        buckets.setdefault(bucket, []).append("--bucket")
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = pool.map(lambda one: answered(*one), _questions(aws, cluster, buckets))
        return [finding for group in found for finding in group]


def _questions(aws: AwsApi, cluster: AwsCluster, buckets: Mapping[str, Sequence[str]]) -> Iterator[_Named]:
    """Yield the checks that ask AWS, each with the name of its subject."""
    kinds = cluster.node_types
    yield "credentials", partial(check_credentials, aws)
    yield "zone", partial(check_zones, aws, cluster)
    yield from (("image", partial(check_image, aws, image)) for image in cluster.each("image"))
    for instance_type in cluster.each("instance_type"):
        yield "instance type", partial(check_instance_type, aws, cluster, instance_type)
    yield "security group", partial(check_bare_types, cluster)
    for group in dict.fromkeys(group for kind in kinds for group in kind.groups):
        yield "security group", partial(check_group, aws, cluster, group)
    yield from (("role", partial(check_role, aws, kind)) for kind in kinds)
    yield "spot role", partial(check_spot_role, aws, cluster)
    yield from ((f"quota {kind.name}", partial(check_quota, aws, kind)) for kind in kinds if kind.instance_type)
    yield from (("bucket", partial(check_bucket, aws, *one)) for one in buckets.items())
    if not buckets:
        yield "bucket", lambda: [CheckResult("bucket", "warning", "not checked: the secrets name none; give --bucket")]
    yield "price", partial(check_prices, aws, cluster)
