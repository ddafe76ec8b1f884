"""Session: one run of a sweep from its plan to its report, with checks, Ray and MLflow."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from sweep.console.printing import say, say_json
from sweep.console.stop_signals import reason_of
from sweep.planning.dataset_sizes import check_data
from sweep.planning.launch import LaunchOptions
from sweep.planning.memory_budget import MemoryBudget, memory_budget
from sweep.planning.plan import Plan
from sweep.planning.plan_table import counted
from sweep.planning.resources import TrialShape, check_precision, choose_shape, parse_workers
from sweep.records.lease import LeaseHolder
from sweep.records.sweep_storage import SweepStorage
from sweep.running.beginning_again import begin_again, leave_at_once, take_reason
from sweep.running.progress import ProgressDisplay
from sweep.running.provenance import changes
from sweep.running.record_faults import faults_said
from sweep.running.run_context import RunContext, RunOptions, TrialSizing
from sweep.running.run_location import RunLocation
from sweep.running.session_report import SessionOutcome, report_outcome
from sweep.running.stages import StageLoop
from sweep.running.weights_check import check_weights
from sweep.running.work_left import nothing_left
from trainables.errors import BadInputError
from trainables.printing.lasting_output import keep_unprinted

if TYPE_CHECKING:
    from sweep.tracking.tracker import SweepTracker

PATIENCE_SECONDS = 600.0
"""Seconds that a running sweep waits for an unreachable storage."""


class SweepSession:
    """One run of a sweep on this machine or on a cluster."""

    def __init__(
        self, name: str, plan: Plan, launch: LaunchOptions, options: RunOptions, location: RunLocation
    ) -> None:
        self._name, self._plan, self._launch, self._options, self._location = name, plan, launch, options, location
        self._storage = SweepStorage(location.storage)
        self._over = False
        """Whether nothing is left to train."""

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self._name

    def run(self, *, extend: bool) -> int:
        """Check the input, run the sweep and print the report; return the exit code."""
        gone_before = take_reason()
        retried = self._options.retry_failed
        self._over = nothing_left(self._storage, self._name, self._plan, retry_failed=retried)
        self._check_address()
        check_data(self._plan)
        check_weights(self._plan, begun=self._storage.whole_sweep(self._name) is not None)
        self._storage.check_writable()
        with self._callers_settings(), self._storage.private_files():
            return self._run(gone_before, extend=extend)

    def _run(self, gone_before: str, *, extend: bool) -> int:
        from sweep.cluster.joined_cluster import ClusterAwayError
        from sweep.tracking.tracker import SweepTracker

        self._check_plan(extend=extend)
        self._check_machine()
        with LeaseHolder(self._storage, self._name, say=self._say) as live:
            tracker = SweepTracker.open(
                self._location.tracking_uri, storage=self._location.storage, experiment=self._launch.experiment
            )
            self._print_start(tracker)
            with self._terminal() as screen:
                try:
                    with (
                        self._cluster() as resources,
                        self._progress(screen) as progress,
                        faults_said(progress.say),
                    ):
                        loop = StageLoop(self._context(resources, tracker, progress, live), self._plan)
                        self._end_when_stuck(loop, tracker, live, screen)
                        outcome = self._execute(loop, tracker, progress, live)
                except BadInputError as error:
                    missing = tracker.close()
                    if not gone_before or not isinstance(error, ClusterAwayError):
                        raise
                    outcome = SessionOutcome("stopped", gone_before, missing=missing)
                except BaseException:
                    tracker.close(0.0)
                    raise
        return self._end(outcome, tracker)

    def _check_address(self) -> None:
        """Check that something listens at the cluster's address, unless waiting is allowed or no cluster is needed."""
        from sweep.cluster.joined_cluster import check_listening

        if self._location.address is not None and not self._over and not self._location.wait_minutes:
            check_listening(self._location.address)

    def _check_machine(self) -> None:
        """Raise BadInputError if trials run on this machine and are too large for it."""
        from sweep.cluster.connection import machine_resources

        if self._location.address is None and not self._over:
            self._sizing(machine_resources())

    def _cluster(self) -> AbstractContextManager[Mapping[str, float]]:
        from sweep.cluster.connection import connect

        if self._over:
            return nullcontext({"CPU": 1.0})
        return connect(self._location.address, wait=60 * self._location.wait_minutes, enough=self._sizing)

    def _callers_settings(self) -> AbstractContextManager[None]:
        from sweep.cluster.caller import callers_settings_kept

        return (
            callers_settings_kept(local=self._location.address is None) if self._location.from_python else nullcontext()
        )

    @contextmanager
    def _terminal(self) -> Iterator[TextIO]:
        """Yield the stream for progress, separate from libraries' output; from Python no output is redirected."""
        from sweep.console.redirect import quiet

        if self._location.from_python:
            yield sys.stderr
        else:
            log_file = self._storage.log_folder(self._name) / "ray.log"
            keep_unprinted(log_file)
            with quiet(log_file) as screen:
                yield screen

    def _progress(self, screen: TextIO) -> ProgressDisplay:
        metric = self._plan.space.objective.metric
        if self._location.from_python:
            from sweep.running.progress_bar import ProgressBar

            return ProgressBar(self._name, metric)
        return ProgressDisplay(screen, self._name, metric, as_json=self._location.as_json)

    def _end_when_stuck(self, loop: StageLoop, tracker: "SweepTracker", live: LeaseHolder, screen: TextIO) -> None:
        """Let the cluster watch end the run if the main thread is blocked inside Ray."""
        from sweep.cluster.cluster_watch import watched

        watch = watched()
        if watch is None or self._location.from_python:  # its caller may interrupt it
            return

        def end() -> None:
            for descriptor in (1, 2):
                os.dup2(screen.fileno(), descriptor)
            loop.interrupt(watch.reason)
            loop.close()
            outcome = SessionOutcome("stopped", watch.reason, loop.device_hours(), gone=True)
            self._end_tracking(outcome, tracker, live)
            live.end()
            self._end(outcome, tracker)

        watch.when_stuck = end

    def _end(self, outcome: SessionOutcome, tracker: "SweepTracker") -> int:
        """Report and return the exit code; if the cluster was lost, exit at once or restart."""
        if outcome.gone and self._location.wait_minutes:
            self._say(f"{outcome.why}; waiting {self._location.wait_minutes:g} minutes for one, to continue there")
            begin_again(outcome.why, *self._location.again)
        code = report_outcome(outcome, self._name, self._storage, self._location, tracker)
        if outcome.gone and not self._location.from_python:
            leave_at_once(code)
        return code

    def _say(self, text: str) -> None:
        say_json({"event": "message", "text": text}) if self._location.as_json else say(text)

    def _execute(
        self, loop: StageLoop, tracker: "SweepTracker", progress: ProgressDisplay, live: LeaseHolder
    ) -> SessionOutcome:
        from sweep.cluster.cluster_watch import ClusterGoneError

        outcome = SessionOutcome()
        try:
            try:
                outcome.status = loop.run()
            except KeyboardInterrupt as error:
                outcome.status, loop.stopping = "stopped", loop.stopping or reason_of(error)
            except ClusterGoneError as gone:
                outcome.status, loop.stopping, outcome.gone = "stopped", str(gone), True
            finally:
                outcome.why, outcome.device_hours = loop.stopping, loop.device_hours()
                if unwritten := loop.close():
                    progress.say(unwritten)
        finally:
            self._end_tracking(outcome, tracker, live)
        return outcome

    def _end_tracking(self, outcome: SessionOutcome, tracker: "SweepTracker", live: LeaseHolder) -> None:
        outcome.taken_over = bool(live.taken_over)
        if tracker.begun and not outcome.taken_over:  # else the runs are the new holder's to end
            tracker.show_comparison(self._storage)
            tracker.finish_sweep("interrupted" if outcome.status == "stopped" else outcome.status)
        outcome.missing = tracker.close()

    def _context(
        self, resources: Mapping[str, float], tracker: "SweepTracker", progress: ProgressDisplay, live: LeaseHolder
    ) -> RunContext:
        sizing, options = self._sizing(resources), self._options
        for line in sizing.memory.recomputed(self._plan):
            progress.say(line)
        if options.rules.max_concurrent is None:
            fitting = sizing.concurrency(self._plan, resources)
            options = replace(options, rules=replace(options.rules, max_concurrent=fitting))
        return RunContext(
            name=self._name,
            storage=SweepStorage(self._location.storage, patience=PATIENCE_SECONDS, mends=True),
            launch=self._launch,
            options=options,
            sizing=sizing,
            live=live,
            progress=progress,
            tracker=tracker,
            from_python=self._location.from_python,
        )

    def _sizing(self, resources: Mapping[str, float]) -> TrialSizing:
        """Return the resources and memory of the trials; BadInputError if they can't run."""
        from sweep.cluster.connection import gpu_gib

        if self._over:
            return TrialSizing(TrialShape(1, 1, use_gpu=False), MemoryBudget("cpu", None, None), 1, self._plan.workers)
        least, most = parse_workers(self._launch.workers)
        shape = choose_shape(least, self._launch.device, resources, most)
        check_precision(self._plan, shape)
        here = self._location.address is None
        memory = self._location.gpu_memory or (gpu_gib() if shape.use_gpu else None)
        budget = memory_budget(self._launch, memory, use_gpu=shape.use_gpu, here=here)
        budget.check(self._plan)
        if shape.use_gpu and self._launch.share_gpus > 1 and budget.available is None:
            raise BadInputError(
                "--share-gpus: this machine has no GPU; give the memory of the cluster's GPUs in GiB: --gpu-memory 80"
            )
        return TrialSizing(shape, budget, self._launch.share_gpus if shape.use_gpu else 1, self._plan.workers)

    def _check_plan(self, *, extend: bool) -> None:
        """Raise BadInputError if the sweep of that name has another plan, unless it is extended."""
        taken = self._storage.whole_sweep(self._name)
        if taken is None or taken.digest == self._plan.digest or extend:
            return
        lines = changes(taken, self._plan) or ["(other assignments or stages)"]
        space = f" --space {shlex.quote(self._launch.space)}" if self._launch.space else ""
        raise BadInputError(
            f"sweep {self._name}: its plan has changed since it was started:",
            *lines,
            f"choose another --name, or use the changed plan: --resume {self._name} --extend{space}",
        )

    def _print_start(self, tracker: "SweepTracker") -> None:
        if not self._location.as_json:
            say(f"sweep {self._name}: {counted(self._plan)}, records in {self._storage.storage.address()}")
            say(f"MLflow: {tracker.uri} ({tracker.why})")
