"""Cost of a cluster per hour at AWS's current prices; a missing price is reported as unknown."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sweep.cluster_setup.aws_calls import AwsApi, NoAnswerError
from sweep.cluster_setup.aws_nodes import AwsCluster, NodeType
from sweep.console.findings import CheckResult

PRICING_REGION = "us-east-1"
"""Region that serves AWS's on-demand prices of all regions."""


def check_prices(aws: AwsApi, cluster: AwsCluster) -> Iterator[CheckResult]:
    """Yield the prices of one machine of each node type, of all of a type, and of the cluster."""
    total: float | None = 0.0
    for kind in cluster.node_types:
        what = f"price {kind.name}"
        try:
            price = spot_price(aws, cluster, kind) if kind.spot else on_demand_price(aws, kind)
        except NoAnswerError as error:
            total = None
            yield CheckResult(what, "warning", f"unknown: {error}")
            continue
        total = None if total is None else total + price * kind.count
        market = "spot, now" if kind.spot else "on demand"
        every = "" if kind.head else f" each, {dollars(price * kind.count)} for all {kind.count}"
        yield CheckResult(what, "ok", f"{kind.instance_type} {market}: {dollars(price)}{every}")
    if total is None:
        yield CheckResult("price", "warning", "of all machines: unknown")
    else:
        yield CheckResult("price", "ok", f"{dollars(total)} with every worker; disks, traffic and taxes come on top")


def spot_price(aws: AwsApi, cluster: AwsCluster, kind: NodeType) -> float:
    """Return the newest spot price in dollars per hour, the highest of all zones; NoAnswerError without one."""
    asked: dict[str, Any] = {"InstanceTypes": [kind.instance_type], "ProductDescriptions": ["Linux/UNIX"]}
    if cluster.zones:
        asked["Filters"] = [{"Name": "availability-zone", "Values": list(cluster.zones)}]
    history = aws.ask("ec2", "describe_spot_price_history", StartTime=datetime.now(UTC), **asked)["SpotPriceHistory"]
    by_time = sorted(history, key=lambda entry: entry["Timestamp"])
    newest = {entry["AvailabilityZone"]: float(entry["SpotPrice"]) for entry in by_time}
    if not newest:
        raise NoAnswerError(
            "", f"AWS has no spot price of {kind.instance_type} in {', '.join(cluster.zones) or aws.region}"
        )
    return max(newest.values())


def on_demand_price(aws: AwsApi, kind: NodeType) -> float:
    """Return the on-demand price of a Linux machine in dollars per hour; NoAnswerError without one."""
    wanted = {
        "instanceType": kind.instance_type,
        "regionCode": aws.region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    asked = {"ServiceCode": "AmazonEC2", "Filters": filters}
    products = aws.ask("pricing", "get_products", region=PRICING_REGION, **asked).get("PriceList", [])
    prices = {price for product in products for price in _hourly(json.loads(product))}
    if len(prices) != 1:
        found = f"{len(prices)} prices" if prices else "no price"
        raise NoAnswerError("", f"AWS lists {found} of {kind.instance_type} in {aws.region}")
    return prices.pop()


def dollars(price: float) -> str:
    """Return a price per hour as text."""
    return f"${price:,.2f} an hour" if price >= 1 else f"${price:.4f} an hour"


def _hourly(product: Mapping[str, Any]) -> Iterator[float]:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = dimension["pricePerUnit"].get("USD")
            if dimension.get("unit") == "Hrs" and price is not None and float(price) > 0:
                yield float(price)
