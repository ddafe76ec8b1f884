"""Ray Tune orders the trials and runs as many at once as fit; a listener hears what happens."""

import contextlib
import logging
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune

from sweep.cluster import DRIVER_RESOURCE
from sweep.relay import Relay
from sweep.tasks import Listener, TrialShape, TrialTask
from sweep.trial import TrialDriver

MAX_RETRIES = 3
"""How often a trial whose process died is tried again."""
MAX_RESTARTS = 2
"""How often Tune as a whole is started again: a Tune actor that the machine ran out of memory for crashes it."""
log = logging.getLogger(__name__)


def run_trials(
    tasks: Sequence[TrialTask], *, shape: TrialShape, max_concurrent: int, log_dir: Path, listener: Listener
) -> None:
    """Run the tasks in their order, at most `max_concurrent` at once; returns when each is finished or failed.

    Needs `connect`. Logs of failed trials go to `log_dir`. Ctrl-C stops the trials and raises KeyboardInterrupt; what a
    listener raised is logged at once and raised at the end.
    """
    log_dir = log_dir.absolute()
    log_dir.mkdir(parents=True, exist_ok=True)
    relay = Relay(tasks, log_dir, listener)
    with _interruptible() as interrupted:
        for restarts_left in range(MAX_RESTARTS, -1, -1):
            try:
                _fit(relay, shape, max_concurrent, log_dir)
            except Exception:
                log.exception("Ray Tune crashed; starts again: %d", restarts_left)
                if not restarts_left and not interrupted.is_set():
                    raise
            if interrupted.is_set() or not relay.unfinished():
                break
    if interrupted.is_set():
        raise KeyboardInterrupt
    relay.raise_first_error()


def _fit(relay: Relay, shape: TrialShape, max_concurrent: int, log_dir: Path) -> None:
    tasks = relay.unfinished()
    if not tasks:
        return
    names = {task.to_json(): task.name for task in tasks}
    ids = {task.to_json(): task.trial_id for task in tasks}
    with tempfile.TemporaryDirectory(prefix="tune-", dir=log_dir, ignore_cleanup_errors=True) as folder:
        tune.Tuner(
            tune.with_resources(TrialDriver, _resources(shape)),
            param_space={
                "task": tune.grid_search(list(names)),
                "workers": shape.workers,
                "threads": shape.threads,
                "use_gpu": shape.use_gpu,
                "log_dir": str(log_dir),
            },
            tune_config=tune.TuneConfig(
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
                trial_name_creator=lambda trial: names[trial.config["task"]],
                trial_dirname_creator=lambda trial: ids[trial.config["task"]],
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=folder,
                callbacks=[relay],
                # The trainer keeps its own checkpoints; of a class Tune takes one at the end unless told not to.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
                verbose=0,
            ),
        ).fit()


def _resources(shape: TrialShape) -> tune.PlacementGroupFactory:
    if shape.workers == 1:
        return tune.PlacementGroupFactory([shape.worker_resources()])
    # A driver that held CPUs its workers need would wait for them for ever.
    has_drivers = DRIVER_RESOURCE in ray.cluster_resources()
    bundle = {DRIVER_RESOURCE: 1.0} if has_drivers else {"node:__internal_head__": 0.001}
    return tune.PlacementGroupFactory([bundle])


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C into Tune's own stop signal for the block; the event says that it came. A second one raises."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        signal.raise_signal(signal.SIGUSR1)

    before: Any = signal.signal(signal.SIGINT, stop)
    # Tune installs its own handler of this one in `fit`; before and after it, the signal must do no harm.
    before_stop: Any = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGUSR1, before_stop)
