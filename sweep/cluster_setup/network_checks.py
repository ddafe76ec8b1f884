"""Checks of the place where machines start: zone, image, instance type, security group, subnet."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sweep.cluster_setup.aws_calls import AwsApi, NoAnswerError
from sweep.cluster_setup.aws_nodes import AwsCluster
from sweep.console.findings import CheckResult

ARCHITECTURE = "x86_64"
"""Architecture of the pinned packages."""
SSH_PORT = 22
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_WELL = "lets SSH in from some addresses, and everything between the nodes"


def check_zones(aws: AwsApi, cluster: AwsCluster) -> Iterator[CheckResult]:
    """Yield the check that the zones belong to the region and are available."""
    if not cluster.zones:
        text = "provider has no availability_zone: Ray takes any, and traffic between zones costs"
        yield CheckResult("zone", "warning", text)
        return
    try:
        found = aws.ask("ec2", "describe_availability_zones", ZoneNames=list(cluster.zones))["AvailabilityZones"]
    except NoAnswerError as error:
        if error.code != "InvalidParameterValue":
            raise
        found = []
    states = {zone["ZoneName"]: zone["State"] for zone in found}
    for zone in cluster.zones:
        if states.get(zone) == "available":
            yield CheckResult("zone", "ok", zone)
        else:
            state = states.get(zone, f"isn't a zone of {aws.region}")
            yield CheckResult("zone", "missing", f"{zone} {state}: aws ec2 describe-availability-zones lists them")


def check_image(aws: AwsApi, image: str) -> Iterator[CheckResult]:
    """Yield the check that an image exists, is ready, and has the architecture of the pinned packages."""
    try:
        found = aws.ask("ec2", "describe_images", ImageIds=[image])["Images"]
    except NoAnswerError as error:
        if not error.code.startswith("InvalidAMIID"):
            raise
        found = []
    if not found:
        yield CheckResult("image", "missing", f"{image} isn't in {aws.region}: docs/cluster.md, AWS, step 5, names one")
        return
    state, architecture = found[0].get("State"), found[0].get("Architecture")
    if (state, architecture) == ("available", ARCHITECTURE):
        yield CheckResult("image", "ok", f"{image}: {found[0].get('Name')}")
    else:
        text = f"{image} is {state} and {architecture}; take one that is available and {ARCHITECTURE}"
        yield CheckResult("image", "missing", text)


def check_instance_type(aws: AwsApi, cluster: AwsCluster, kind: str) -> Iterator[CheckResult]:
    """Yield the check that an instance type is offered in each zone."""
    filters = [{"Name": "instance-type", "Values": [kind]}]
    asked: dict[str, Any] = {"LocationType": "availability-zone", "Filters": filters}
    offers = aws.ask("ec2", "describe_instance_type_offerings", **asked)["InstanceTypeOfferings"]
    zones = sorted(offer["Location"] for offer in offers)
    lacking = [zone for zone in cluster.zones if zone not in zones]
    if lacking or not zones:
        where = f"it is in {', '.join(zones)}" if zones else f"no zone of {aws.region} has it"
        text = f"{kind} isn't offered in {', '.join(lacking) or aws.region}; {where}"
        yield CheckResult("instance type", "missing", text)
    else:
        yield CheckResult("instance type", "ok", f"{kind} is offered in {', '.join(cluster.zones or zones)}")


def check_bare_types(cluster: AwsCluster) -> Iterator[CheckResult]:
    """Yield a result for node types without a security group, if there are any."""
    bare = [kind.name for kind in cluster.node_types if not kind.groups]
    if bare:
        text = "without one in the file Ray makes a group that lets SSH in from everywhere"
        yield CheckResult("security group", "missing", f"{', '.join(bare)}: {text}; docs/cluster.md, AWS, step 3")


def check_group(aws: AwsApi, cluster: AwsCluster, group: str) -> Iterator[CheckResult]:
    """Yield the checks of a security group: required and excess inbound rules, and whether it covers the zones."""
    try:
        (found,) = aws.ask("ec2", "describe_security_groups", GroupIds=[group])["SecurityGroups"]
    except NoAnswerError as error:
        if not error.code.startswith(("InvalidGroup", "InvalidSecurityGroup")):
            raise
        text = f"{group} isn't in {aws.region}: docs/cluster.md, AWS, step 3, makes one"
        yield CheckResult("security group", "missing", text)
        return
    faults = faults_of_rules(group, found["IpPermissions"])
    yield CheckResult("security group", "missing" if faults else "ok", f"{group} {'; '.join(faults) or _WELL}")
    yield from _check_subnets(aws, cluster, group, found["VpcId"])


def faults_of_rules(group: str, rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the faults of a security group's inbound rules."""
    rules = list(rules)
    faults = []
    if opened := [_ports(rule) for rule in rules if set(_sources(rule)) & set(_EVERYWHERE)]:
        faults.append(f"is open to everybody on {', '.join(opened)}: revoke that rule, and allow your addresses only")
    if not any(_covers(rule, SSH_PORT) and _from_outside(rule) for rule in rules):
        faults.append("lets SSH in from nowhere: add port 22 from your addresses")
    within = [rule for rule in rules if any(pair.get("GroupId") == group for pair in rule.get("UserIdGroupPairs", ()))]
    if not any(_covers(rule, 1) and _covers(rule, 65535) for rule in within):
        faults.append("doesn't let its own machines reach each other: add all protocols with itself as source")
    return faults


def _check_subnets(aws: AwsApi, cluster: AwsCluster, group: str, vpc: str) -> Iterator[CheckResult]:
    for zone in cluster.zones:
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "availability-zone", "Values": [zone]}]
        subnets = aws.ask("ec2", "describe_subnets", Filters=filters)["Subnets"]
        usable = [one for one in subnets if one["State"] == "available" and one["MapPublicIpOnLaunch"]]
        if usable:
            yield CheckResult("subnet", "ok", f"{usable[0]['SubnetId']} in {zone}, of the network of {group}")
        else:
            text = f"{vpc}, the network of {group}, has no subnet in {zone} that gives public addresses"
            yield CheckResult("subnet", "missing", f"{text}: take another zone, or make a subnet")


def _sources(rule: Mapping[str, Any]) -> list[str]:
    four = [entry["CidrIp"] for entry in rule.get("IpRanges", ())]
    return four + [entry["CidrIpv6"] for entry in rule.get("Ipv6Ranges", ())]


def _from_outside(rule: Mapping[str, Any]) -> bool:
    return bool(_sources(rule) or rule.get("PrefixListIds"))


def _covers(rule: Mapping[str, Any], port: int) -> bool:
    if rule["IpProtocol"] == "-1":
        return True
    return rule["IpProtocol"] == "tcp" and port in range(rule.get("FromPort", 0), rule.get("ToPort", 65535) + 1)


def _ports(rule: Mapping[str, Any]) -> str:
    if rule["IpProtocol"] == "-1":
        return "all ports"
    first, last = rule.get("FromPort"), rule.get("ToPort")
    return f"{rule['IpProtocol']} port {first}" if first == last else f"{rule['IpProtocol']} ports {first} to {last}"
