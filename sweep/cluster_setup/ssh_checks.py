"""Checks of on-premises machines: whether SSH answers, and whether the key is accepted."""

import socket
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sweep.console.findings import CheckResult

SSH_PORT = 22
ANSWER_SECONDS = 5.0
LOGIN_SECONDS = 20.0


def check_machines(config: Mapping[str, Any], *, log_in: bool) -> list[CheckResult]:
    """Return a check result for the head node and each worker; with `log_in`, the SSH login is tested too."""
    provider, auth = config["provider"], config.get("auth") or {}
    head, workers = provider.get("head_ip"), provider.get("worker_ips") or []
    if not head:
        return [CheckResult("head node", "missing", "provider has no head_ip")]
    machines = [("head node", str(head)), *(("worker", str(worker)) for worker in workers)]
    if "ssh_proxy_command" in auth:
        return [CheckResult("machines", "warning", "not asked: they are reached through ssh_proxy_command")]
    with ThreadPoolExecutor(max_workers=16) as pool:
        found = list(pool.map(lambda machine: _reached(machine[0], machine[1], auth, log_in=log_in), machines))
    if not workers:
        found.append(CheckResult("workers", "missing", "provider names none in worker_ips: trials run on workers"))
    return found


def _reached(what: str, address: str, auth: Mapping[str, Any], *, log_in: bool) -> CheckResult:
    try:
        socket.create_connection((address, SSH_PORT), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        why = f"no answer within {ANSWER_SECONDS:g} s" if isinstance(error, TimeoutError) else error.strerror or error
        return CheckResult(what, "missing", f"{address}: not reached on SSH's port {SSH_PORT}: {why}")
    if not log_in:
        return CheckResult(what, "ok", f"{address} answers on SSH's port")
    refusal = _login_error(address, auth)
    if refusal is not None:
        return CheckResult(what, "missing", f"{address}: {auth.get('ssh_user')} is refused with this key: {refusal}")
    return CheckResult(what, "ok", f"{address} lets {auth.get('ssh_user')} in")


def _login_error(address: str, auth: Mapping[str, Any]) -> str | None:
    """Return the error of an SSH login, or None. Host keys aren't checked, as in `ray up`."""
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={ANSWER_SECONDS:.0f}"]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    if key := auth.get("ssh_private_key"):
        command += ["-o", "IdentitiesOnly=yes", "-i", str(Path(key).expanduser())]
    if user := auth.get("ssh_user"):
        command += ["-l", str(user)]
    try:
        done = subprocess.run(
            [*command, "--", address, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LOGIN_SECONDS,
        )
    except FileNotFoundError:
        return "there is no program `ssh` here"
    except subprocess.TimeoutExpired:
        return f"no answer within {LOGIN_SECONDS:g} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"ssh ended with code {done.returncode}"
