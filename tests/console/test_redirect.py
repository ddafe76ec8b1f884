"""Output of libraries, kept off the screen."""

import os
from pathlib import Path

import pytest

from sweep.console.redirect import quiet


def test_quiet_keeps_noise_off_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with quiet(tmp_path / "logs" / "ray.log") as screen:
        os.write(1, b"(raylet) noise\n")
        os.write(2, b"more of it\n")
        screen.write("a table\n")
    os.write(1, b"afterwards\n")
    assert capfd.readouterr() == ("a table\nafterwards\n", "")
    assert (tmp_path / "logs" / "ray.log").read_text() == "(raylet) noise\nmore of it\n"
