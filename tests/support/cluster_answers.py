"""Answers that make a cluster file, for each provider."""

from typing import Any

AWS: dict[str, Any] = {
    "region": "eu-central-1",
    "zone": "eu-central-1b",
    "bucket": "my-sweeps",
    "instance_type": "g6.xlarge",
    "max_workers": 4,
    "market": "spot",
    "image": "ami-0123456789abcdef0",
    "security_group": "sg-0123456789abcdef0",
    "cluster_name": "other",
    "ssh_user": "me",
}
LOCAL: dict[str, Any] = {
    "head": "10.0.0.1",
    "workers": ["10.0.0.2", "gpu-2"],
    "ssh_user": "me",
    "ssh_key": "~/.ssh/key",
    "cluster_name": "ours",
}
