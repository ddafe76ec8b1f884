"""What is wrong with a security group's rules."""

from typing import Any

import pytest

from sweep.cluster_setup.network_checks import faults_of_rules

GROUP = "sg-1"
SSH: dict[str, Any] = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.7/32"}]}
WITHIN: dict[str, Any] = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": GROUP}]}


@pytest.mark.parametrize(
    "rules",
    [
        [SSH, WITHIN],
        [{**SSH, "IpRanges": [], "Ipv6Ranges": [{"CidrIpv6": "2001:db8::1/128"}]}, WITHIN],
        [{**SSH, "IpRanges": [], "PrefixListIds": [{"PrefixListId": "pl-1"}]}, WITHIN],
        [SSH, {**WITHIN, "IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535}],
    ],
)
def test_rules_that_serve(rules: list[dict[str, Any]]) -> None:
    assert faults_of_rules(GROUP, rules) == []


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ([{**SSH, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, WITHIN], "open to everybody on tcp port 22:"),
        ([{**SSH, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, WITHIN], "open to everybody on tcp port 22:"),
        ([SSH, WITHIN, {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}], "open to everybody on all ports:"),
        ([SSH, WITHIN, {**SSH, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}], "on tcp ports 22 to 80:"),
        ([WITHIN], "lets SSH in from nowhere"),
        ([{**SSH, "FromPort": 23, "ToPort": 80}, WITHIN], "lets SSH in from nowhere"),
        ([SSH], "doesn't let its own machines reach each other"),
        ([SSH, {**WITHIN, "UserIdGroupPairs": [{"GroupId": "sg-2"}]}], "doesn't let its own machines"),
        ([SSH, {**WITHIN, "IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379}], "doesn't let its own machines"),
    ],
)
def test_each_fault_is_named_alone(rules: list[dict[str, Any]], fault: str) -> None:
    (found,) = faults_of_rules(GROUP, rules)
    assert fault in found
