"""Forked processes have loaded what a trial needs; where the server can't import it, it says nothing."""

import sys

from support.process_group import exit_code


def _look() -> None:
    assert "support.preloaded" in sys.modules


def test_processes_are_forked_with_all_that_a_trial_loads() -> None:
    assert exit_code(_look) == 0
