"""What listens at an address and is no Ray head, a head that wants a token, and nobody: each is said in time."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import head

COMMANDS = (("sweep.doctor",), ("sweep.run", "--space", "quickstart"))
PATIENCE = 5.0
"""Seconds for a head's answer in the program that asks; as it is used there are more."""


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes every connection and says nothing."""
    kept = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def ask(module: str, *options: str, folder: Path, before: str = "", **environment: str) -> tuple[str, float]:
    """Run a program; return what it said and its seconds. `before` is code that its process runs first."""
    program = f"import runpy; {before or 'pass'}; runpy.run_module({module!r}, run_name='__main__')"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *options, "--storage", str(folder / "storage")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("command", [pytest.param(COMMANDS[0], marks=pytest.mark.long), *COMMANDS[1:]])
def test_what_answers_and_is_no_ray_is_said_with_likely_causes(
    silent: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    hurried = f"from sweep.cluster import joined_cluster; joined_cluster.ANSWER_SECONDS = {PATIENCE}"
    said, seconds = ask(*command, "--address", silent, folder=tmp_path, before=hurried)
    assert f"address {silent!r}: something listens there, but no Ray head answers (no answer within 5 s)" in said
    assert "likely: the token" in said
    assert "doesn't listen on" in said
    assert "version of Ray" in said
    assert seconds > PATIENCE


@pytest.mark.slow
def test_a_head_that_wants_a_token_says_so(tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text("ab" * 32)
    (wrong := tmp_path / "wrong").write_text("cd" * 32)
    for file in (token, wrong):
        file.chmod(0o600)
    port = free_port()
    address = f"127.0.0.1:{port}"
    with head(environment={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}, port=port):
        said, _ = ask(*COMMANDS[0], "--address", address, folder=tmp_path)
        assert f"address {address!r}: the cluster asks for a token" in said
        others = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(wrong)}
        said, _ = ask(*COMMANDS[1], "--address", address, folder=tmp_path, **others)
        assert f"address {address!r}: the cluster asks for a token" in said


@pytest.mark.parametrize("command", [COMMANDS[1]])
def test_nobody_at_an_address_is_said_before_anything_else(tmp_path: Path, command: tuple[str, ...]) -> None:
    said, _ = ask(*command, "--address", f"127.0.0.1:{free_port()}", folder=tmp_path)
    assert "no Ray cluster answers there" in said
    assert not (tmp_path / "storage").exists()
