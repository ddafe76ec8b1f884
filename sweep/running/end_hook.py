"""Delivery of a sweep's summary at its end: to a command's standard input, or to a URL by POST.

The command and the URL may contain secrets: they are never printed, logged or stored, not even after a failure.
"""

import json
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Any

TIMEOUT_SECONDS = 60.0
"""Time limit for the whole delivery: connecting, sending and the answer, or running the command."""
PAUSE_SECONDS = 2.0
"""Seconds between SIGTERM and SIGKILL for a process group."""
_URL = re.compile(r"\s*https?:", re.IGNORECASE)


def send(target: str, summary: dict[str, Any], *, timeout: float = TIMEOUT_SECONDS) -> str:
    """Post the summary to a URL, or pass it to a command's standard input; return the error, empty if none."""
    content = json.dumps(summary).encode()
    fault = _post(target.strip(), content, timeout) if _URL.match(target) else _run(target, content, timeout)
    return fault and f"--on-end: the summary wasn't delivered: {fault}"


def _post(url: str, content: bytes, timeout: float) -> str:
    """Post within a total time limit; a socket's timeout restarts with each received byte."""
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(_answer(url, content, timeout)), name="on-end", daemon=True)
    thread.start()
    thread.join(timeout)
    return answers[0] if answers else f"no answer from the URL within {timeout:g} s"


def _answer(url: str, content: bytes, timeout: float) -> str:
    import requests

    try:
        with requests.post(
            url,
            content,
            headers={"Content-Type": "application/json"},
            timeout=timeout,
            allow_redirects=False,  # a POST would become a GET, and https could become http
            stream=True,  # the answer's body is of no use
        ) as response:
            status = response.status_code
    except Exception as error:  # requests, urllib3 and the codecs of host names each raise their own
        return f"the URL can't be reached ({_reason(error)})"
    if response.is_redirect or 300 <= status < 400:
        return f"the URL answers with a redirect (HTTP {status}), which isn't followed; give the address it leads to"
    return "" if 200 <= status < 300 else f"the URL answers HTTP {status}"


def _reason(error: BaseException) -> str:
    """Return an error's type and system message; never its text, which may quote the address."""
    kinds, found, seen = type(error).__name__, error, set()
    while id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, OSError) and found.errno is not None and found.errno > 0:
            return f"{kinds}: {os.strerror(found.errno)}"
        inner = (one for one in (*found.args, getattr(found, "reason", None)) if isinstance(one, BaseException))
        found = found.__cause__ or found.__context__ or next(inner, found)
    return kinds


def _run(command: str, content: bytes, timeout: float) -> str:
    """Run a command in its own process group, which ends with it."""
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.PIPE,
            # Its output may quote its secrets; whoever wants it writes it to a file.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"the command can't be started ({type(error).__name__})"
    try:
        process.communicate(content, timeout)
    except subprocess.TimeoutExpired:
        return f"the command was ended after {timeout:g} s, with all processes that it started"
    finally:
        _end_group(process)
    if process.returncode < 0:
        return f"the command was ended by signal {-process.returncode}"
    return f"the command's exit code is {process.returncode}" if process.returncode else ""


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the remaining processes of a group: SIGTERM first, then SIGKILL."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PAUSE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
