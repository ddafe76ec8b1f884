"""Checks of a cluster file without a network: its content, and the local files that it refers to."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweep.cluster_setup.cluster_file import MARK
from sweep.console.findings import CheckResult

SCHEMA = "Ray's schema"
SECRETS = ("env", "head.env", "ray_token")
_CODE_MOUNT, _SECRETS_MOUNT = "~/sweep-service", "~/.sweep-secrets"
_MARKED = re.compile(rf"#\s*{MARK}\b")
_BUCKET = re.compile(r"^\s*(?:export\s+)?(\w+)=['\"]?s3://([^/'\"\s]+)", re.MULTILINE)


def check_content(text: str, config: Mapping[str, Any]) -> Iterator[CheckResult]:
    """Yield the check results for unset values, and for Ray's schema."""
    from sweep.cluster.ray_private import cluster_file_error

    unset = sorted({value for value in _strings(config) if re.search(rf"\b{MARK}\b", value)})
    marked = [number for number, line in enumerate(text.splitlines(), 1) if _MARKED.search(line)]
    if unset:
        yield CheckResult("values", "missing", f"still to be set: {', '.join(unset)}")
    elif marked:
        lines = ", ".join(map(str, marked))
        yield CheckResult(
            "values", "warning", f"lines {lines} are still marked {MARK}: set their values and remove the mark"
        )
    else:
        yield CheckResult("values", "ok", f"nothing is marked {MARK}")
    error = cluster_file_error(dict(config))
    if error is None:
        yield CheckResult(SCHEMA, "warning", "not checked: this version of Ray has no schema for it")
    else:
        yield CheckResult(SCHEMA, "missing" if error else "ok", error or "accepted")


def check_bundle(config: Mapping[str, Any]) -> CheckResult:
    """Return the check that the code and every script in the file's commands are copied to the nodes."""
    source = mounts(config).get(_CODE_MOUNT)
    if source is None:
        return CheckResult("bundle", "warning", f"not checked: file_mounts has no {_CODE_MOUNT}")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return CheckResult("bundle", "missing", f"{source} isn't there: make bundle")
    commands = " ".join(
        value for name, part in config.items() if name.endswith("_commands") for value in _strings(part)
    )
    named = set(re.findall(rf"{re.escape(_CODE_MOUNT)}/([\w.-]+)", commands)) | {"constraints.txt"}
    lacking = sorted(name for name in named if not (folder / name).is_file())
    lacking += [] if list(folder.glob("*.whl")) else ["a wheel of the code"]
    if lacking:
        return CheckResult("bundle", "missing", f"{source} lacks {', '.join(lacking)}: make bundle")
    return CheckResult("bundle", "ok", source)


def check_secrets(config: Mapping[str, Any]) -> CheckResult:
    """Return the check that the secrets file exists and only its owner can read it."""
    source = mounts(config).get(_SECRETS_MOUNT)
    if source is None:
        return CheckResult("secrets", "warning", f"not checked: file_mounts has no {_SECRETS_MOUNT}")
    folder = Path(source).expanduser()
    lacking = [name for name in SECRETS if not (folder / name).is_file()]
    if lacking:
        text = f'{source} lacks {", ".join(lacking)}: docs/cluster.md, "What every cluster needs", step 2'
        return CheckResult("secrets", "missing", text)
    empty = [name for name in SECRETS if not (folder / name).stat().st_size]
    if empty:
        return CheckResult("secrets", "missing", f"{source}: {', '.join(empty)} is empty")
    opened = [f"{source}/{name}" for name in SECRETS if _is_readable_by_others(folder / name)]
    if opened:
        return CheckResult("secrets", "missing", f"other users can read them: chmod 600 {' '.join(opened)}")
    return CheckResult("secrets", "ok", f"{source}, readable by you only")


def check_key(config: Mapping[str, Any]) -> CheckResult:
    """Return the check that the machines' SSH key exists and only its owner can read it."""
    key = (config.get("auth") or {}).get("ssh_private_key")
    if key is None:
        if config["provider"].get("type") == "aws":
            return CheckResult("SSH key", "ok", "Ray makes one, ~/.ssh/ray-autoscaler_*.pem")
        return CheckResult(
            "SSH key", "missing", "auth has no ssh_private_key, which the head node needs to reach its workers"
        )
    path = Path(key).expanduser()
    if not path.is_file():
        return CheckResult("SSH key", "missing", f"{key} isn't there")
    if _is_readable_by_others(path):
        return CheckResult("SSH key", "missing", f"other users can read it, so ssh refuses it: chmod 600 {key}")
    return CheckResult("SSH key", "ok", f"{key}, readable by you only")


def mounts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the local paths that are copied to the nodes, by their path on the node."""
    return {str(there).rstrip("/"): str(here) for there, here in (config.get("file_mounts") or {}).items()}


def buckets_of(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the buckets in the secrets, each with the settings that contain its name."""
    found: dict[str, list[str]] = {}
    if source := mounts(config).get(_SECRETS_MOUNT):
        for name in ("env", "head.env"):
            path = Path(source).expanduser() / name
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            for setting, bucket in _BUCKET.findall(text):
                found.setdefault(bucket, []).append(setting)
    return found


def _is_readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
