"""Summary of the written file and the next steps for its user."""

import shlex
from pathlib import Path

from sweep.cluster_setup.cluster_file import read
from sweep.cluster_setup.laptop_checks import check_bundle, check_secrets
from sweep.cluster_setup.questions import Answers

_NAME_IN_POLICIES = "sweep"
"""Name of the cluster in docs/aws/*.json."""


def next_steps(provider: str, answers: Answers, path: Path) -> str:
    """Return a summary of the written file, and the remaining steps to a cluster."""
    _, config = read(path)
    file = shlex.quote(str(path))
    steps = []
    if provider == "aws":
        bucket = answers["bucket"]
        steps.append(f"export AWS_REGION={answers['region']} BUCKET={bucket} SHARE=s3://{bucket}")
        if answers["cluster_name"] != _NAME_IN_POLICIES:
            named = f'"{_NAME_IN_POLICIES}" by "{answers["cluster_name"]}"'
            steps.append(f"# docs/aws/*-policy.json name the cluster: replace {named} there before the roles are made")
    if check_bundle(config).verdict == "missing":
        steps.append("make bundle")
    if check_secrets(config).verdict == "missing":
        steps.append('# make the secrets: docs/cluster.md, "What every cluster needs", step 2')
    steps.append(f"python -m sweep.configure --check {file}")
    steps.append(f"ray up -y {file}")
    return "\n".join(
        [f"{path}: {summary(provider, answers)}", "Next (docs/cluster.md):", *(f"    {one}" for one in steps)]
    )


def summary(provider: str, answers: Answers) -> str:
    """Return the resources that a cluster file requests, in one line."""
    name, user = answers["cluster_name"], answers["ssh_user"]
    if provider == "local":
        workers = answers["workers"]
        assert isinstance(workers, list)
        return (
            f"cluster {name}, head {answers['head']}, workers {', '.join(workers)}, user {user} by {answers['ssh_key']}"
        )
    machines = f"at most {answers['max_workers']} x {answers['instance_type']} ({answers['market']})"
    ids = f"{answers['image']}, {answers['security_group']}, bucket {answers['bucket']}"
    return f"cluster {name} in {answers['zone']}, {machines}, {ids}, user {user}"
