"""AWS resources that a cluster file requests: region, zones and instance types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NodeType:
    """Node type of a cluster file."""

    name: str
    head: bool
    count: int
    """Maximum number of machines of this type."""
    instance_type: str
    image: str
    groups: tuple[str, ...]
    profile: str
    spot: bool


@dataclass(frozen=True)
class AwsCluster:
    """AWS resources that a cluster file requests."""

    region: str
    zones: tuple[str, ...]
    node_types: tuple[NodeType, ...]

    def each(self, field: str) -> list[str]:
        """Return the distinct values of a field over all node types."""
        return list(dict.fromkeys(value for kind in self.node_types if (value := getattr(kind, field))))


def aws_cluster(config: Mapping[str, Any]) -> AwsCluster:
    """Return the AWS resources that a cluster file requests; missing settings are empty."""
    provider = config["provider"]
    zones = str(provider.get("availability_zone") or "")
    most = int(config.get("max_workers") or 0)
    kinds = (config.get("available_node_types") or {}).items()
    head = config.get("head_node_type")
    return AwsCluster(
        region=str(provider.get("region") or ""),
        zones=tuple(zone.strip() for zone in zones.split(",") if zone.strip()),
        node_types=tuple(_node_type(name, kind or {}, head=name == head, most=most) for name, kind in kinds),
    )


def _node_type(name: str, kind: Mapping[str, Any], *, head: bool, most: int) -> NodeType:
    settings = kind.get("node_config") or {}
    profile = settings.get("IamInstanceProfile") or {}
    market = settings.get("InstanceMarketOptions") or {}
    return NodeType(
        name=name,
        head=head,
        count=1 if head else min(most if (own := kind.get("max_workers")) is None else int(own), most),
        instance_type=str(settings.get("InstanceType") or ""),
        image=str(settings.get("ImageId") or ""),
        groups=tuple(settings.get("SecurityGroupIds") or ()),
        profile=str(profile.get("Name") or str(profile.get("Arn") or "").rpartition("/")[2]),
        spot=market.get("MarketType") == "spot",
    )
