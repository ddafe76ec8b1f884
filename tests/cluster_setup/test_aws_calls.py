"""AWS's answers, refusals and silence, with a local server that speaks its JSON."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.aws_account import KEYS, JsonServices, json_services, price_list
from support.cluster_answers import AWS as ANSWERS
from support.page_commands import page_commands
from support.paths import ROOT
from support.ports import free_port

from sweep.cluster_setup.account_checks import check_quota, quota_family
from sweep.cluster_setup.aws_calls import IMAGE_PARAMETER, AwsApi, NoAnswerError, answered, newest_image
from sweep.cluster_setup.aws_nodes import NodeType, aws_cluster
from sweep.cluster_setup.checks import check
from sweep.cluster_setup.cluster_file import filled
from sweep.cluster_setup.price_checks import dollars, on_demand_price
from sweep.console.findings import CheckResult

pytest.importorskip("boto3")
HEAD = NodeType("head", True, 1, "m5.xlarge", "ami-1", ("sg-1",), "sweep-head", False)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServices]:
    with json_services() as made:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": made.address}.items():
            monkeypatch.setenv(name, value)
        yield made


def test_the_newest_image_is_asked_for_by_the_pages_parameter(services: JsonServices) -> None:
    services.answers["GetParameter"] = {"Parameter": {"Value": "ami-0123456789abcdef0"}}
    assert newest_image("eu-west-1") == "ami-0123456789abcdef0"
    assert services.asked == [("GetParameter", {"Name": IMAGE_PARAMETER})]
    assert IMAGE_PARAMETER in page_commands(ROOT / "docs/cluster.md")["aws image"]


def test_what_is_not_permitted_is_a_warning_with_the_code(services: JsonServices) -> None:
    def asks() -> Iterator[CheckResult]:
        yield CheckResult("before", "ok", "stays")
        AwsApi("us-west-2").ask("ssm", "get_parameter", Name="a")

    assert answered("image", asks) == [
        CheckResult("before", "ok", "stays"),
        CheckResult("image", "warning", "not checked: ssm get_parameter: not permitted (AccessDeniedException)"),
    ]
    services.answers["GetParameter"] = "ParameterNotFound"
    (_, found) = answered("image", asks)
    assert found.text == "not checked: ssm get_parameter: AWS answers ParameterNotFound: no"


def test_the_price_is_that_of_a_linux_machine_in_the_region(services: JsonServices) -> None:
    services.answers["GetProducts"] = price_list(0.192)
    assert on_demand_price(AwsApi("us-west-2"), HEAD) == 0.192
    wanted = {entry["Field"]: entry["Value"] for entry in services.asked[0][1]["Filters"]}
    assert wanted["instanceType"] == "m5.xlarge"
    assert wanted["regionCode"] == "us-west-2"


def test_a_price_that_aws_does_not_tell_for_sure_is_unknown(services: JsonServices) -> None:
    two = {"PriceList": price_list(0.1)["PriceList"] + price_list(0.2)["PriceList"]}
    answers: list[tuple[dict[str, Any], str]] = [({"PriceList": []}, "no price"), (two, "2 prices")]
    for answer, why in answers:
        services.answers["GetProducts"] = answer
        with pytest.raises(NoAnswerError, match=f"AWS lists {why} of m5.xlarge in us-west-2"):
            on_demand_price(AwsApi("us-west-2"), HEAD)
    assert json.loads(two["PriceList"][0])["terms"]
    assert (dollars(0.1925), dollars(1234.5)) == ("$0.1925 an hour", "$1,234.50 an hour")


@pytest.mark.parametrize(
    ("instance_type", "spot", "family"),
    [
        ("g5.2xlarge", True, "G and VT"),
        ("g6e.xlarge", False, "G and VT"),
        ("gr6.4xlarge", True, "G and VT"),
        ("vt1.3xlarge", True, "G and VT"),
        ("p3.2xlarge", True, "P"),
        ("p4d.24xlarge", True, "P"),
        ("p5.48xlarge", True, "P5"),
        ("p5.48xlarge", False, "P"),
        ("p6-b200.48xlarge", True, None),
        ("m5.xlarge", False, "standard"),
        ("im4gn.large", False, "standard"),
        ("inf2.xlarge", True, None),
        ("trn1.2xlarge", True, None),
        ("hpc7a.96xlarge", False, None),
        ("mac1.metal", False, None),
    ],
)
def test_an_instance_type_counts_against_the_quota_of_its_family(
    instance_type: str, spot: bool, family: str | None
) -> None:
    assert quota_family(instance_type, spot=spot) == family


def test_an_unknown_quota_is_said_to_be_unknown() -> None:
    kind = NodeType("gpu", False, 2, "trn1.2xlarge", "", (), "", True)
    (found,) = check_quota(AwsApi("us-west-2"), kind)
    assert (found.verdict, "no known quota of trn1.2xlarge" in found.text) == ("warning", True)


def test_without_a_network_every_check_says_so_and_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**KEYS, "HOME": str(tmp_path), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a.yaml").write_text(filled("aws", ANSWERS))
    began = time.monotonic()
    found = check(tmp_path / "a.yaml", bucket="my-sweeps")
    assert time.monotonic() - began < 60
    asked = {"credentials", "zone", "image", "instance type", "security group", "role", "spot role", "quota head"}
    silent = [one for one in found if "EndpointConnectionError" in one.text]
    assert asked | {"quota gpu", "bucket", "price head", "price gpu"} == {one.what for one in silent}
    assert {one.verdict for one in silent} == {"warning"}


def test_without_credentials_aws_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "a.yaml").write_text(filled("aws", ANSWERS))
    last = check(tmp_path / "a.yaml")[-1]
    assert (last.what, last.verdict) == ("credentials", "missing")
    with pytest.raises(NoAnswerError, match="no credentials"):
        newest_image("us-west-2")


@pytest.mark.parametrize(("stated", "count"), [({}, 4), ({"max_workers": 0}, 0), ({"max_workers": 9}, 4)])
def test_a_node_type_without_workers_is_none(stated: dict[str, int], count: int) -> None:
    kinds = {"head": {}, "gpu": stated}
    config = {"provider": {}, "max_workers": 4, "head_node_type": "head", "available_node_types": kinds}
    assert [kind.count for kind in aws_cluster(config).node_types] == [1, count]
