"""What is found of an AWS account before `ray up`, against moto's server: all of it, and each fault by its name."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.aws_account import KEYS, JsonServices, json_services, moto_server, price_list
from support.cluster_answers import AWS
from support.paths import ROOT

from sweep.cluster_setup.checks import check
from sweep.cluster_setup.cluster_file import filled
from sweep.console.findings import CheckResult

boto3 = pytest.importorskip("boto3")
pytestmark = pytest.mark.slow
REGION, ZONE, BUCKET = "us-west-2", "us-west-2b", "my-sweeps"
BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
QUOTAS = {"L-1216C47A": 16.0, "L-3819A6DF": 32.0, "L-DB2E81BA": 32.0}
Quotas = dict[str, float]


@dataclass
class Account:
    """An account that has what docs/cluster.md makes, and what is asked of it."""

    folder: Path
    services: JsonServices
    image: str = ""
    group: str = ""
    quotas: Quotas = field(default_factory=lambda: dict(QUOTAS))

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION)

    def make(self) -> None:
        """Make what the page's administrator makes."""
        s3, iam, ec2 = (self.client(name) for name in ("s3", "iam", "ec2"))
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=BLOCKED)
        for name in ("sweep-head", "sweep-worker"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=(ROOT / "docs/aws/trust.json").read_text())
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        self.make_spot_role()
        network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.group = self.make_group("sweep", network, "203.0.113.7/32")
        self.image = self.image_of("x86_64")

    def make_group(self, name: str, network: str, addresses: str) -> str:
        ec2 = self.client("ec2")
        group = str(ec2.create_security_group(GroupName=name, Description=name, VpcId=network)["GroupId"])
        ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": addresses}]}
        within = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, within])
        return group

    def image_of(self, architecture: str) -> str:
        filters = [{"Name": "architecture", "Values": [architecture]}]
        return str(self.client("ec2").describe_images(Filters=filters)["Images"][0]["ImageId"])

    def make_spot_role(self) -> None:
        """Make the role by AWS's name for it; moto's own call names it otherwise."""
        role = {"RoleName": "AWSServiceRoleForEC2Spot", "Path": "/aws-service-role/spot.amazonaws.com/"}
        self.client("iam").create_role(**role, AssumeRolePolicyDocument="{}")

    def answer_quota(self, asked: dict[str, Any]) -> Any:
        value = self.quotas.get(asked["QuotaCode"])
        return "NoSuchResourceException" if value is None else {"Quota": {"Value": value}}

    def found(self, *, bucket: str = BUCKET, edit: Callable[[str], str] = str, **answers: Any) -> list[CheckResult]:
        """Return what is found of AWS for a file of these answers."""
        usual = {"region": REGION, "zone": ZONE, "bucket": bucket, "instance_type": "g5.2xlarge"}
        usual |= {"image": self.image, "security_group": self.group, "cluster_name": "sweep"}
        path = self.folder / "cluster.yaml"
        path.write_text(edit(filled("aws", {**AWS, **usual, **answers})))
        found = check(path, bucket=bucket)
        return found[[finding.what for finding in found].index("credentials") :]

    def faults(self, **answers: Any) -> list[CheckResult]:
        """Return the findings that aren't ok."""
        return [finding for finding in self.found(**answers) if finding.verdict != "ok"]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("account")
    with moto_server(folder) as address, json_services() as services, pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "HOME": str(folder), "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        for service in ("PRICING", "SERVICE_QUOTAS", "SSM"):  # moto has none of these answers
            patch.setenv(f"AWS_ENDPOINT_URL_{service}", services.address)
        made = Account(folder, services)
        made.make()
        services.answers |= {"GetServiceQuota": made.answer_quota, "GetProducts": price_list(0.192)}
        services.answers["GetParameter"] = {"Parameter": {"Value": made.image}}
        yield made


def test_an_account_that_has_everything_has_no_fault(account: Account) -> None:
    found = account.found()
    assert [finding for finding in found if finding.verdict != "ok"] == []
    assert [finding.what for finding in found] == [
        "credentials",
        "zone",
        "image",
        "instance type",
        "instance type",
        "security group",
        "subnet",
        "role",
        "role",
        "spot role",
        "quota head",
        "quota gpu",
        "bucket",
        "public access",
        "price head",
        "price gpu",
        "price",
    ]
    texts = {finding.what: finding.text for finding in found}
    assert texts["quota gpu"] == "L-3819A6DF (G and VT, spot) is 32 virtual CPUs, 4 x g5.2xlarge use 32"
    assert texts["price head"] == "m5.xlarge on demand: $0.1920 an hour"
    assert texts["price gpu"] == "g5.2xlarge spot, now: $0.0000 an hour each, $0.0000 an hour for all 4"  # moto's price


def test_on_demand_workers_need_no_spot_role_have_their_own_quota_and_the_list_price(account: Account) -> None:
    texts = {finding.what: finding.text for finding in account.found(market="on-demand")}
    assert "spot role" not in texts
    assert texts["quota gpu"].startswith("L-DB2E81BA (G and VT, on-demand) is 32")
    assert texts["price gpu"] == "g5.2xlarge on demand: $0.1920 an hour each, $0.7680 an hour for all 4"
    assert texts["price"].startswith("$0.9600 an hour with every worker")


@pytest.mark.parametrize(
    ("answers", "what", "why"),
    [
        ({"zone": "us-west-2z"}, "zone", "us-west-2z isn't a zone of us-west-2"),
        ({"zone": "us-west-2z"}, "instance type", "g5.2xlarge isn't offered in us-west-2z; it is in us-west-2a"),
        ({"zone": "us-west-2z"}, "subnet", "has no subnet in us-west-2z"),
        ({"image": "ami-00000000"}, "image", "ami-00000000 isn't in us-west-2"),
        ({"instance_type": "g99.xlarge"}, "instance type", "no zone of us-west-2 has it"),
        ({"security_group": "sg-00000000"}, "security group", "sg-00000000 isn't in us-west-2"),
        ({"bucket": "my-other-sweeps"}, "bucket", "my-other-sweeps (--bucket) doesn't exist"),
        ({"max_workers": 5}, "quota gpu", "5 x g5.2xlarge use 40: only 4 of 5 come"),
    ],
)
def test_a_fault_of_the_file_is_named(account: Account, answers: dict[str, Any], what: str, why: str) -> None:
    faults = [finding for finding in account.faults(**answers) if finding.what == what]
    assert any(why in finding.text for finding in faults), faults


def test_an_open_group_is_named(account: Account) -> None:
    network = account.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    opened = account.make_group("open", network, "0.0.0.0/0")
    (fault,) = account.faults(security_group=opened)
    assert (fault.what, fault.verdict) == ("security group", "missing")
    assert f"{opened} is open to everybody on tcp port 22" in fault.text


def test_a_file_without_a_group_or_profiles_is_told_what_ray_would_make(account: Account) -> None:
    def without(text: str) -> str:
        lines = text.splitlines()
        return "\n".join(line for line in lines if "SecurityGroupIds" not in line and "IamInstanceProfile" not in line)

    faults = account.faults(edit=without)
    assert [(fault.what, fault.verdict) for fault in faults] == [
        ("security group", "missing"),
        ("role", "warning"),
        ("role", "warning"),
    ]


def test_an_image_of_another_architecture_is_named(account: Account) -> None:
    (fault,) = account.faults(image=account.image_of("arm64"))
    assert (fault.what, fault.verdict) == ("image", "missing")
    assert "is available and arm64; take one that is available and x86_64" in fault.text


def test_a_missing_role_and_a_profile_without_one_are_named(account: Account) -> None:
    iam = account.client("iam")
    iam.create_instance_profile(InstanceProfileName="bare")
    faults = account.faults(edit=lambda text: text.replace("sweep-worker", "bare").replace("sweep-head", "none"))
    head, worker = faults
    assert (head.what, head.verdict, "none, of head: there is no such" in head.text) == ("role", "missing", True)
    assert (worker.what, worker.verdict, "a profile without a role" in worker.text) == ("role", "missing", True)


def test_a_missing_spot_role_is_named_with_what_makes_it(account: Account) -> None:
    account.client("iam").delete_role(RoleName="AWSServiceRoleForEC2Spot")
    (fault,) = account.faults()
    account.make_spot_role()
    assert (fault.what, fault.verdict) == ("spot role", "missing")
    assert "aws iam create-service-linked-role" in fault.text


def test_a_quota_that_lets_no_worker_come_is_missing(account: Account) -> None:
    account.quotas["L-3819A6DF"] = 0.0
    (fault,) = account.faults()
    account.quotas["L-3819A6DF"] = QUOTAS["L-3819A6DF"]
    assert (fault.what, fault.verdict) == ("quota gpu", "missing")
    assert "none comes; aws service-quotas request-service-quota-increase" in fault.text
    assert "--quota-code L-3819A6DF --desired-value 32" in fault.text


def test_a_bucket_that_is_open_or_elsewhere_is_named(account: Account) -> None:
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    where, access = account.faults(bucket="far")
    assert (where.what, where.verdict) == ("bucket", "missing")
    assert "lies in eu-west-1, the machines in us-west-2" in where.text
    assert (access.what, access.verdict) == ("public access", "missing")
    assert "BlockPublicAcls" in access.text


def test_what_is_not_permitted_is_a_warning_and_ends_no_other_check(account: Account) -> None:
    answers = dict(account.services.answers)
    account.services.answers.clear()
    faults = account.faults()
    account.services.answers |= answers
    assert [(fault.what, fault.verdict) for fault in faults] == [
        ("quota head", "warning"),
        ("quota gpu", "warning"),
        ("price head", "warning"),
        ("price", "warning"),
    ]
    assert all("not permitted (AccessDeniedException)" in fault.text for fault in faults[:3])
    assert faults[-1].text == "of all machines: unknown"


def test_the_command_writes_a_file_with_awss_newest_image_and_checks_it(account: Account) -> None:
    path = account.folder / "my cluster.yaml"
    options = ["--provider", "aws", "--region", REGION, "--zone", ZONE, "--bucket", BUCKET, "--max-workers", "4"]
    written = configure(*options, "--security-group", account.group, "--output", str(path))
    assert account.image in written.stdout
    assert f"ray up -y '{path}'" in written.stdout
    checked = configure("--check", str(path), "--bucket", BUCKET, code=1)
    assert "credentials" in checked.stdout
    missing = [line.split()[0] for line in checked.stdout.splitlines() if " missing " in line]
    assert missing == ["bundle", "secrets"]


def configure(*options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sweep.configure", *options]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done
