"""Machines of one's own: SSH's port, and logging in."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port

from sweep.cluster_setup import ssh_checks
from sweep.cluster_setup.ssh_checks import check_machines
from sweep.console.findings import CheckResult

CONFIG: dict[str, Any] = {
    "provider": {"type": "local", "head_ip": "127.0.0.1", "worker_ips": ["localhost"]},
    "auth": {"ssh_user": "me", "ssh_private_key": "~/key"},
}


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ssh_checks, "SSH_PORT", server.getsockname()[1])
        yield


def fake_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("listening")
def test_machines_that_answer_are_ok() -> None:
    assert check_machines(CONFIG, log_in=False) == [
        CheckResult("head node", "ok", "127.0.0.1 answers on SSH's port"),
        CheckResult("worker", "ok", "localhost answers on SSH's port"),
    ]


def test_a_machine_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_checks, "SSH_PORT", free_port())
    head, worker = check_machines(CONFIG, log_in=True)
    assert (head.verdict, worker.verdict) == ("missing", "missing")
    assert head.text.startswith("127.0.0.1: not reached on SSH's port")
    assert "refused" in head.text


def test_a_machine_that_keeps_silent_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(address: tuple[str, int], timeout: float) -> socket.socket:
        assert timeout == 5.0
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    assert check_machines(CONFIG, log_in=False)[0].text.endswith("no answer within 5 s")


@pytest.mark.usefixtures("listening")
def test_the_key_is_tried_as_the_user_without_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ssh(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/said')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [finding.text for finding in check_machines(CONFIG, log_in=True)] == [
        "127.0.0.1 lets me in",
        "localhost lets me in",
    ]
    for line in (tmp_path / "said").read_text().splitlines():
        assert "-o BatchMode=yes -o ConnectTimeout=5" in line
        assert f"-o IdentitiesOnly=yes -i {tmp_path}/key -l me -- " in line


@pytest.mark.usefixtures("listening")
def test_a_key_that_is_refused_is_named_with_what_ssh_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ssh(tmp_path, monkeypatch, "echo 'me@host: Permission denied (publickey).' >&2; exit 255")
    head, _ = check_machines(CONFIG, log_in=True)
    assert head.verdict == "missing"
    assert head.text == "127.0.0.1: me is refused with this key: me@host: Permission denied (publickey)."


def test_a_file_without_machines_and_machines_behind_a_proxy() -> None:
    assert [finding.what for finding in check_machines({"provider": {"type": "local"}}, log_in=False)] == ["head node"]
    behind = {**CONFIG, "auth": {"ssh_user": "me", "ssh_proxy_command": "nc %h %p"}}
    assert [finding.verdict for finding in check_machines(behind, log_in=True)] == ["warning"]
