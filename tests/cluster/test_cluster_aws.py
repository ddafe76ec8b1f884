"""`ray up cluster.yaml` against moto's EC2, IAM and STS, as far as instances, with the commands of docs/cluster.md."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.aws_account import KEYS, moto_server
from support.page_commands import page_commands
from support.paths import ROOT

AWS = shutil.which("aws")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(AWS is None, reason="needs the command line `aws`")]
COMMANDS = page_commands(ROOT / "docs/cluster.md")
NAMES = {"AWS_REGION": "us-west-2", "BUCKET": "my-sweeps", "MY_ADDRESSES": "203.0.113.7/32"}
BRING_UP = """
import sys
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE, TAG_RAY_NODE_NAME
import yaml
config = _bootstrap_config(yaml.safe_load(open(sys.argv[1])), no_config_cache=True)
provider = AWSNodeProvider(config["provider"], config["cluster_name"])
for kind, name in (("head", "head"), ("worker", "gpu")):
    tags = {TAG_RAY_NODE_KIND: kind, TAG_RAY_USER_NODE_TYPE: name, TAG_RAY_NODE_NAME: f"ray-sweep-{kind}"}
    provider.create_node(config["available_node_types"][name]["node_config"], tags, 1)
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local server of AWS's API."""
    with moto_server(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture(scope="module")
def made(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the account holds after the page's commands and `ray up`, as far as the nodes' SSH."""
    folder = tmp_path_factory.mktemp("laptop")

    def run(command: str) -> str:
        environment = {**os.environ, **KEYS, **NAMES, "AWS_ENDPOINT_URL": endpoint, "HOME": str(folder)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=ROOT,
            env={**environment, "PATH": path, "AWS_PAGER": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    (folder / ".ssh").mkdir(mode=0o700)
    for name in ("aws bucket", "aws roles", "aws spot role"):
        run(COMMANDS[name])
    group = run(COMMANDS["aws group"]).split()[-1]
    # moto has neither the page's parameter nor its image.
    image = json.loads(run("aws ec2 describe-images --output json"))["Images"][0]["ImageId"]
    text = (ROOT / "cluster.yaml").read_text().replace("ami-CHANGE", image).replace("sg-CHANGE", group)
    assert "-CHANGE" not in text
    (folder / "cluster.yaml").write_text(text)
    (folder / "up.py").write_text(BRING_UP)
    said = run(f"{sys.executable} {folder}/up.py {folder}/cluster.yaml")
    facts: dict[str, Any] = {
        "group": group,
        "said": said,
        "instances": [
            instance
            for reservation in json.loads(run("aws ec2 describe-instances --output json"))["Reservations"]
            for instance in reservation["Instances"]
        ],
        "groups": json.loads(run("aws ec2 describe-security-groups --output json"))["SecurityGroups"],
        "zone": yaml.safe_load(text)["provider"]["availability_zone"],
        "roles": json.loads(run("aws iam list-roles --output json"))["Roles"],
        "policies": {
            path.stem: json.loads(path.read_text()) for path in (folder / ".sweep-policies").glob("*-policy.json")
        },
    }
    run(f"{sys.executable} {folder}/up.py {folder}/cluster.yaml")
    facts["groups afterwards"] = json.loads(run("aws ec2 describe-security-groups --output json"))["SecurityGroups"]
    return facts


def test_ssh_is_open_to_the_addresses_of_the_page_and_everything_between_the_nodes(made: dict[str, Any]) -> None:
    (group,) = (one for one in made["groups"] if one["GroupId"] == made["group"])
    ssh, between = sorted(group["IpPermissions"], key=lambda rule: rule.get("FromPort", -1), reverse=True)
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert [entry["CidrIp"] for entry in ssh["IpRanges"]] == [NAMES["MY_ADDRESSES"]]
    assert between["IpProtocol"] == "-1"
    assert not between["IpRanges"]
    assert [pair["GroupId"] for pair in between["UserIdGroupPairs"]] == [made["group"]]


def test_ray_makes_no_group_and_no_rule_of_its_own_the_second_time_neither(made: dict[str, Any]) -> None:
    for moment in ("groups", "groups afterwards"):
        assert {group["GroupName"] for group in made[moment]} <= {"default", "sweep"}
        rules = [rule for group in made[moment] for rule in group["IpPermissions"]]
        assert "0.0.0.0/0" not in [entry["CidrIp"] for rule in rules for entry in rule["IpRanges"]]
        assert not [rule for rule in rules if rule.get("Ipv6Ranges")]


def test_instances_have_their_roles_types_zone_tags_and_group(made: dict[str, Any]) -> None:
    by_kind = {tag["Value"]: one for one in made["instances"] for tag in one["Tags"] if tag["Key"] == "ray-node-type"}
    assert set(by_kind) == {"head", "worker"}
    head, worker = by_kind["head"], by_kind["worker"]
    assert head["InstanceType"] == "m5.xlarge"
    assert worker["InstanceType"] == "g5.2xlarge"
    assert "InstanceLifecycle" not in head
    assert worker["InstanceLifecycle"] == "spot"
    for kind, instance in by_kind.items():
        assert instance["IamInstanceProfile"]["Arn"].endswith(f"/sweep-{kind}")
        assert [group["GroupId"] for group in instance["SecurityGroups"]] == [made["group"]]
        assert instance["Placement"]["AvailabilityZone"] == made["zone"]
        assert {"Key": "ray-cluster-name", "Value": "sweep"} in instance["Tags"]
        assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_roles_exist_and_no_policy_allows_everything(made: dict[str, Any]) -> None:
    roles = {role["RoleName"]: role["Path"] for role in made["roles"]}
    assert {"sweep-head", "sweep-worker"} <= set(roles)
    assert "/aws-service-role/spot.amazonaws.com/" in roles.values()
    assert set(made["policies"]) == {"head-policy", "worker-policy", "user-policy"}
    for policy in made["policies"].values():
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert "*" not in "".join(actions)
            # What has no narrower resource only looks.
            if statement["Resource"] == "*":
                assert all(action.startswith(("ec2:Describe", "pricing:Get")) for action in actions)
            assert not {"BUCKET", "REGION", "ACCOUNT"} & set(json.dumps(statement).replace("/", ":").split(":"))
