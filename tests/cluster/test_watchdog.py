"""What a process that hangs says of where it stands."""

import threading
import time
from pathlib import Path

import pytest

from sweep.cluster import attempt, watchdog

HANG = "import time\nbegun.set()\nwhile not over.is_set():\n    time.sleep(0.01)\n"


@pytest.mark.parametrize(
    ("file", "is_said"),
    [("/somewhere/trainer.py", True), (attempt.__file__, False), (watchdog.__file__, False)],
    ids=["trainer", "attempt", "watchdog"],
)
def test_it_names_the_innermost_lines_but_those_around_a_trial(file: str, is_said: bool) -> None:
    begun, over = threading.Event(), threading.Event()
    code = compile(HANG, file, "exec")
    thread = threading.Thread(target=exec, args=(code, {"begun": begun, "over": over}))
    thread.start()
    try:
        assert begun.wait(30)
        time.sleep(0.05)  # into the sleep
        said = watchdog._thread_stacks()
    finally:
        over.set()
        thread.join()
    assert (f'"{file}", line 4' in said) == is_said
    assert Path(watchdog.__file__).name not in said
