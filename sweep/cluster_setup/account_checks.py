"""Checks of the AWS account: credentials, roles, quotas, bucket."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from sweep.cluster_setup.aws_calls import UNREACHABLE, AwsApi, NoAnswerError, answered
from sweep.cluster_setup.aws_nodes import AwsCluster, NodeType
from sweep.console.findings import CheckResult

SPOT_ROLE = "AWSServiceRoleForEC2Spot"
QUOTAS = {
    "standard": ("L-1216C47A", "L-34B43A08"),
    "G and VT": ("L-DB2E81BA", "L-3819A6DF"),
    "P": ("L-417A185B", "L-7212CCBC"),
    "P5": ("L-417A185B", "L-C4BD4855"),
}
"""EC2's quotas in virtual CPUs, on demand and spot, by instance family."""
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def check_credentials(aws: AwsApi) -> Iterator[CheckResult]:
    """Yield the check of the AWS credentials."""
    try:
        yield CheckResult("credentials", "ok", str(aws.ask("sts", "get_caller_identity")["Arn"]))
    except NoAnswerError as error:
        if error.code in UNREACHABLE:
            raise
        yield CheckResult("credentials", "missing", f"{error}: sign in again")


def check_role(aws: AwsApi, kind: NodeType) -> Iterator[CheckResult]:
    """Yield the check that a node type has an instance profile with a role."""
    if not kind.profile:
        text = "Ray gives the head one that may do all in EC2 and S3, and workers none"
        yield CheckResult("role", "warning", f"{kind.name} has no IamInstanceProfile: {text}")
        return
    make = "docs/cluster.md, AWS, step 2, makes it"
    try:
        found = aws.ask("iam", "get_instance_profile", InstanceProfileName=kind.profile)["InstanceProfile"]
    except NoAnswerError as error:
        if error.code != "NoSuchEntity":
            raise
        yield CheckResult(
            "role", "missing", f"{kind.profile}, of {kind.name}: there is no such instance profile; {make}"
        )
        return
    roles = ", ".join(role["RoleName"] for role in found["Roles"])
    if roles:
        yield CheckResult("role", "ok", f"{kind.profile}, of {kind.name}: has the role {roles}")
    else:
        yield CheckResult("role", "missing", f"{kind.profile}, of {kind.name}: is a profile without a role; {make}")


def check_spot_role(aws: AwsApi, cluster: AwsCluster) -> Iterator[CheckResult]:
    """Yield the check of the account's role for spot instances, if the cluster requests any."""
    if not any(kind.spot for kind in cluster.node_types):
        return
    try:
        aws.ask("iam", "get_role", RoleName=SPOT_ROLE)
        yield CheckResult("spot role", "ok", SPOT_ROLE)
    except NoAnswerError as error:
        if error.code != "NoSuchEntity":
            raise
        make = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
        yield CheckResult("spot role", "missing", f"spot instances never start without it: {make}")


def check_quota(aws: AwsApi, kind: NodeType) -> Iterator[CheckResult]:
    """Yield the check that the account's quota allows all machines of a node type at once."""
    what = f"quota {kind.name}"
    family = quota_family(kind.instance_type, spot=kind.spot)
    if family is None:
        yield CheckResult(
            what, "warning", f"not checked: no known quota of {kind.instance_type}; look in Service Quotas"
        )
        return
    code = QUOTAS[family][kind.spot]
    found = aws.ask("ec2", "describe_instance_types", InstanceTypes=[kind.instance_type])["InstanceTypes"]
    each = int(found[0]["VCpuInfo"]["DefaultVCpus"])
    quota = aws.ask("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    market, wanted = "spot" if kind.spot else "on-demand", each * kind.count
    has = f"{code} ({family}, {market}) is {quota:g} virtual CPUs"
    need = f"{kind.count} x {kind.instance_type} use {wanted}"
    if quota >= wanted:
        yield CheckResult(what, "ok", f"{has}, {need}")
        return
    ask = "aws service-quotas request-service-quota-increase --service-code ec2"
    ask = f"{ask} --quota-code {code} --desired-value {wanted}"
    fit = int(quota // each)
    comes = f"only {fit} of {kind.count} come" if fit else "none comes"
    yield CheckResult(what, "warning" if fit else "missing", f"{has}, {need}: {comes}; {ask}")


def quota_family(instance_type: str, *, spot: bool) -> str | None:
    """Return the QUOTAS key of an instance type; None if unknown."""
    match = re.match(r"([a-z]+)(\d?)", instance_type)
    letters, generation = match.groups() if match else ("", "")
    if letters in ("g", "gr", "vt"):
        return "G and VT"
    if letters == "p":
        return "P" if not spot or generation in "234" else "P5" if generation == "5" else None
    return "standard" if letters in ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z") else None


def check_bucket(aws: AwsApi, bucket: str, settings: Sequence[str]) -> Iterator[CheckResult]:
    """Yield the check that a bucket is reachable, in the region and not public.

    `settings` are the settings that contain the bucket's name, for the text.
    """
    called = f"{bucket} ({', '.join(settings)})"
    try:
        place = aws.ask("s3", "get_bucket_location", Bucket=bucket)["LocationConstraint"]
    except NoAnswerError as error:
        if error.code != "NoSuchBucket":
            raise
        yield CheckResult("bucket", "missing", f"{called} doesn't exist: docs/cluster.md, AWS, step 1, creates it")
        return
    region = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(place, place)
    if region == aws.region:
        yield CheckResult("bucket", "ok", f"{called} is reached, in {region}")
    else:
        yield CheckResult(
            "bucket", "missing", f"{called} lies in {region}, the machines in {aws.region}: traffic costs"
        )
    yield from answered("public access", partial(_check_public_access, aws, bucket))


def _check_public_access(aws: AwsApi, bucket: str) -> Iterator[CheckResult]:
    try:
        found = aws.ask("s3", "get_public_access_block", Bucket=bucket)["PublicAccessBlockConfiguration"]
    except NoAnswerError as error:
        if error.code != "NoSuchPublicAccessBlockConfiguration":
            raise
        found = {}
    lacking = [name for name in _BLOCKS if not found.get(name)]
    if lacking:
        text = f"{bucket} doesn't have {', '.join(lacking)}: docs/cluster.md, AWS, step 1, closes it"
        yield CheckResult("public access", "missing", text)
    else:
        yield CheckResult("public access", "ok", f"{bucket} is closed to the public")
