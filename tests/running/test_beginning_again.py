"""A process that replaces itself where its cluster is gone."""

import os
import sys
from typing import Any

import pytest

from sweep.running.beginning_again import begin_again, take_reason


def test_it_is_the_same_command_with_what_must_not_be_left_to_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "sweep.evaluate", "--retry-failed", "--labels", "1"])
    begin_again("it went down", "mine")
    ((program, command, environment),) = calls
    assert program == sys.executable
    assert command[1:] == ["-m", "sweep.evaluate", "--labels", "1", "mine"]
    monkeypatch.setattr(os, "environ", environment)
    assert [take_reason(), take_reason()] == ["it went down", ""]
