"""Questions for a cluster file: each with the rule for its answer and its places in the file."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import BadInputError

Value = str | int | list[str]
Answers = Mapping[str, Value]
"""Checked answers, by question name."""
Place = tuple[str | int, ...]
"""Keys and indices from the root of a YAML file to a value."""

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]*[a-z0-9]")
_BUCKET_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@dataclass(frozen=True)
class SetupQuestion:
    """Question whose answer a cluster file needs."""

    name: str
    text: str
    """Text of the prompt, and of the option's help."""
    rule: Callable[[str], Value]
    """Parser of an answer; raises ValueError with the requirement for a wrong answer."""
    places: tuple[Place, ...] = ()
    usual: bool = False
    """Whether the template's value is used if no answer is given."""

    @property
    def option(self) -> str:
        """Return the command-line option for this question."""
        return "--" + self.name.replace("_", "-")

    def value_of(self, answer: str) -> Value:
        """Return the value of an answer; BadInputError if it is wrong."""
        try:
            return self.rule(answer.strip())
        except ValueError as error:
            raise BadInputError(f"{self.option} {answer!r}: {error}") from error


def matching(pattern: str, rule: str) -> Callable[[str], str]:
    """Return the parser of answers that match a pattern as a whole."""

    def check(answer: str) -> str:
        if not re.fullmatch(pattern, answer):
            raise ValueError(rule)
        return answer

    return check


def count(answer: str) -> int:
    """Return a positive integer."""
    if not re.fullmatch(r"\d+", answer) or int(answer) < 1:
        raise ValueError("must be a whole number above 0")
    return int(answer)


def bucket_name(answer: str) -> str:
    """Return a bucket name that follows S3's rules for general purpose buckets."""
    if not 3 <= len(answer) <= 63 or not _BUCKET.fullmatch(answer) or re.fullmatch(r"\d+(\.\d+){3}", answer):
        raise ValueError(
            "a bucket's name has 3 to 63 small letters, digits, dots and hyphens, starts and ends with a letter or "
            "digit, and isn't an IP address; give only the name, without s3://"
        )
    if answer.startswith(_BUCKET_PREFIXES) or answer.endswith(_BUCKET_SUFFIXES):
        raise ValueError("S3 reserves names with this beginning or end")
    return answer


def address(answer: str) -> str:
    """Return an IP address or host name."""
    try:
        return str(ipaddress.ip_address(answer))
    except ValueError:
        # An answer of digits and dots only must be an IP address.
        if len(answer) > 253 or not _HOST_NAME.fullmatch(answer) or re.fullmatch(r"[\d.]+", answer):
            raise ValueError("is neither an IP address nor a host name") from None
    return answer


def addresses(answer: str) -> list[str]:
    """Return the distinct addresses of a comma-separated list."""
    found = [address(part.strip()) for part in answer.split(",") if part.strip()]
    if not found:
        raise ValueError("names no machine")
    if doubled := sorted({one for one in found if found.count(one) > 1}):
        raise ValueError(f"names {', '.join(doubled)} twice")
    return found


def key_file(answer: str) -> str:
    """Return the path of an existing private key, unexpanded, since `~` differs between machines."""
    path = Path(answer).expanduser()
    if not path.is_file():
        raise ValueError("no such file; `ssh-keygen -t ed25519` makes a key")
    if path.suffix == ".pub":
        raise ValueError(f"is the public half; give {answer.removesuffix('.pub')}")
    return answer


def agree(answers: Answers) -> None:
    """Raise BadInputError if answers contradict each other."""
    region, zone = answers.get("region"), answers.get("zone")
    if isinstance(region, str) and isinstance(zone, str) and not zone.startswith(region):
        raise BadInputError(f"--zone {zone!r}: is in another region than --region {region!r}")
    workers = answers.get("workers")
    if isinstance(workers, list) and answers.get("head") in workers:
        raise BadInputError(f"--workers: include the head node, {answers['head']}; give another machine")


CLUSTER_NAME = SetupQuestion(
    "cluster_name",
    "Name of the cluster, in the names and tags of its machines",
    matching(
        r"[a-z][a-z0-9-]{0,30}", "a name has small letters, digits and hyphens, at most 31, and starts with a letter"
    ),
    (("cluster_name",),),
    usual=True,
)
_USER = matching(r"[a-z_][a-z0-9_-]{0,31}", "isn't the name of a Linux user")
_AMAZON_ID = r"([0-9a-f]{8}|[0-9a-f]{17})"
_HEAD, _GPU = (("available_node_types", name) for name in ("head", "gpu"))
AWS = (
    SetupQuestion(
        "region",
        "Region of AWS, where the bucket is",
        matching(r"[a-z]{2}(-[a-z]+)+-\d", "isn't a region; an example is us-west-2"),
        (("provider", "region"),),
    ),
    SetupQuestion(
        "zone",
        "Availability zone of all machines",
        matching(r"[a-z]{2}(-[a-z]+)+-\d(-[a-z]+-\d)?[a-z]", "isn't an availability zone; an example is us-west-2a"),
        (("provider", "availability_zone"),),
    ),
    SetupQuestion("bucket", "S3 bucket for data, results and artifacts", bucket_name),
    SetupQuestion(
        "instance_type",
        "Instance type of the workers",
        matching(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "isn't an instance type; an example is g5.2xlarge"),
        ((*_GPU, "node_config", "InstanceType"),),
        usual=True,
    ),
    SetupQuestion(
        "max_workers",
        "Number of workers, at most",
        count,
        (("max_workers",), (*_GPU, "max_workers")),
        usual=True,
    ),
    SetupQuestion(
        "market",
        "Workers are spot or on-demand instances",
        matching(r"spot|on-demand", "is neither spot nor on-demand"),
        ((*_GPU, "node_config", "InstanceMarketOptions", "MarketType"),),
        usual=True,
    ),
    SetupQuestion(
        "image",
        "Deep Learning AMI of the region, driver 580 or newer",
        matching(f"ami-{_AMAZON_ID}", "isn't the id of an AMI; an example is ami-0123456789abcdef0"),
        ((*_HEAD, "node_config", "ImageId"), (*_GPU, "node_config", "ImageId")),
    ),
    SetupQuestion(
        "security_group",
        "Security group of all machines",
        matching(f"sg-{_AMAZON_ID}", "isn't the id of a security group; an example is sg-0123456789abcdef0"),
        ((*_HEAD, "node_config", "SecurityGroupIds", 0),),
    ),
    CLUSTER_NAME,
    SetupQuestion("ssh_user", "User name for SSH on the machines", _USER, (("auth", "ssh_user"),), usual=True),
)
LOCAL = (
    SetupQuestion("head", "Address of the head node", address, (("provider", "head_ip"),)),
    SetupQuestion("workers", "Addresses of the workers, comma-separated", addresses, (("provider", "worker_ips"),)),
    SetupQuestion("ssh_user", "User name for SSH on the machines", _USER, (("auth", "ssh_user"),)),
    SetupQuestion("ssh_key", "Private key that opens every machine", key_file, (("auth", "ssh_private_key"),)),
    CLUSTER_NAME,
)
QUESTIONS = {"aws": AWS, "local": LOCAL}
"""Questions by provider, in the order of the prompts."""
