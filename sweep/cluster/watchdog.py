"""Watchdog thread that ends the process when its trial makes no progress."""

import faulthandler
import os
import tempfile
import threading
from pathlib import Path

from sweep.scheduling.failure import AttemptFailure
from trainables import heartbeat
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import FailureRecord, now_ms

HUNG_EXIT_CODE = 70
_LAST_WORDS_SECONDS = 5.0
_WAITING = (__file__, str(Path(__file__).with_name("attempt.py")), "threading.py")
"""Files whose stack lines don't show where a trial hangs: this one, the loop around the trial, and waiting threads."""


class HeartbeatWatchdog:
    """Thread that ends this process if the running trial sends no heartbeat."""

    _only: "HeartbeatWatchdog | None" = None

    def __init__(self) -> None:
        self._files: TrialFiles | None = None
        self._limit = float("inf")
        self._wake = threading.Event()
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> "HeartbeatWatchdog":
        """Return this process's watchdog, which starts at the first call."""
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def watch(self, files: TrialFiles, limit: float) -> None:
        """Watch the trial with these files; end the process after `limit` seconds without a heartbeat."""
        self._files, self._limit = TrialFiles(files.storage), limit
        self._wake.set()

    def _look(self) -> None:
        while True:
            self._wake.wait(min(self._limit / 10, 5.0))
            self._wake.clear()
            silence = heartbeat.seconds_silent()
            if silence > self._limit:
                self._end(silence)

    def _end(self, silence: float) -> None:
        message = f"process {os.getpid()} took no step for {silence:.0f} s: {_thread_stacks()}"
        # In a separate thread, since the storage itself may hang.
        words = threading.Thread(target=self._record_message, args=(message,), daemon=True)
        words.start()
        words.join(_LAST_WORDS_SECONDS)
        os._exit(HUNG_EXIT_CODE)

    def _record_message(self, message: str) -> None:
        assert self._files is not None
        self._files.write_failure(FailureRecord(time_ms=now_ms(), kind=AttemptFailure.HUNG, message=message))


def _thread_stacks() -> str:
    """Return the innermost stack line of each thread, for the message."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        frames = file.read().split("\n\n")
    tops = [lines[1].strip() for block in frames if len(lines := block.splitlines()) > 1]
    return "; ".join(top for top in tops if not any(name in top for name in _WAITING))[:500]
