"""Preparing a data set that a signal interrupts: said, with its exit code, and nothing half-made is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT


@pytest.mark.slow
def test_ctrl_c_says_what_is_left(tmp_path: Path) -> None:
    """The signal goes to the whole group, as a terminal sends it."""
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8))
        picture.save(tmp_path / "images" / name / "0.png")
        for number in range(1, 200):
            os.link(tmp_path / "images" / name / "0.png", tmp_path / "images" / name / f"{number}.png")
    root = tmp_path / "root"
    command = ["prepare", "folder", "--source", str(tmp_path / "images"), "--root", str(root), "--as", "mine"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    running = subprocess.Popen(
        [sys.executable, "-m", "sweep.data", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while not list(root.glob(".mine.*.partial/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines() == [
        "interrupted",
        "mine: not prepared, nothing of it is left half-written; the same command begins again, but keeps what was "
        "downloaded",
    ]
    assert [path.name for path in root.iterdir()] == [".mine.lock"]


INTERRUPTED_IMPORT = """
import importlib._bootstrap
from trainables.data.preparing.build_store import _load_meanwhile
lock = importlib._bootstrap._get_module_lock("pandas")
lock.acquire()
_load_meanwhile(chips=False)
"""


@pytest.mark.slow
def test_an_interrupted_import_does_not_keep_the_program_from_its_end() -> None:
    """Python leaves the lock of a module whose import Ctrl-C cuts off."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], env=environment, check=True, timeout=30)
