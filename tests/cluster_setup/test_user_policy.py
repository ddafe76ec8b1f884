"""The policy of who calls `ray up` permits what the checks ask, and fits into one policy of IAM."""

import json
import re
from typing import Any

from support.paths import ROOT

POLICY = ROOT / "docs/aws/user-policy.json"
MOST_CHARACTERS = 6144
"""Of a managed policy, white space not counted."""
OTHER_NAMES = {"s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock"}


def statements() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(POLICY.read_text())["Statement"]
    return content


def asked() -> set[str]:
    """Return the actions of the calls that stand in the room's source."""
    source = "".join(path.read_text() for path in (ROOT / "sweep/cluster_setup").glob("*.py"))
    calls = re.findall(r'\.ask\(\s*"([\w-]+)", "(\w+)"', source)
    assert source.count(".ask(") == len(calls)
    actions = {f"{service.replace('-', '')}:{name.title().replace('_', '')}" for service, name in calls}
    return {OTHER_NAMES.get(action, action) for action in actions}


def test_every_check_is_permitted_and_who_one_is_always_was() -> None:
    permitted = {
        action
        for statement in statements()
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
    assert len(asked()) > 10
    assert asked() - permitted == {"sts:GetCallerIdentity"}


def test_it_fits_into_one_managed_policy() -> None:
    assert len(re.sub(r"\s", "", POLICY.read_text())) < MOST_CHARACTERS - 500
