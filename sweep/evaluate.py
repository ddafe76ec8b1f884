"""Evaluate finished encoders, frozen and fine-tuned: `python -m sweep.evaluate [SWEEP]`.

The result is a separate sweep, with the same kinds of records, MLflow runs, comparison and report. It can be resumed.
"""

import sys

from sweep.console import evaluation_options, options
from sweep.console.printing import say
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.records.paths import DEFAULT_STORAGE


def main(
    sweep: options.LatestSweep = None,
    trials: evaluation_options.EvaluatedTrials = None,
    weights: evaluation_options.FurtherWeights = None,
    datasets: evaluation_options.DataSets = None,
    labels: evaluation_options.LabelFractions = None,
    draws: evaluation_options.Draws = None,
    epochs: evaluation_options.Epochs = None,
    learning_rate: evaluation_options.LearningRate = None,
    assignments: options.Assignments = None,
    dry_run: options.DryRun = False,
    strict: options.Strict = False,
    name: evaluation_options.EvaluationName = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    experiment: options.Experiment = "",
    address: options.Address = None,
    wait_cluster: options.WaitCluster = 0.0,
    device: options.Device = "auto",
    max_concurrent: options.MaxConcurrent = None,
    grace: options.Grace = GRACE_SECONDS,
) -> None:
    """Evaluate pretrained encoders with fractions of the labels, frozen and fine-tuned.

    Frozen features: logistic regression (penalty chosen on validation), kNN with k 20 and 200, nearest class mean.
    For comparison: fine-tuning of the whole encoder, training from scratch, untrained encoders, raw pixels, band means.

    The evaluation is a sweep: python -m sweep.run --resume NAME continues it, sweep.compare NAME --html shows it.
    """
    from sweep.running.evaluation_request import EvaluationRequest, label_fractions, single_values
    from sweep.running.evaluation_run import EvaluationRun
    from sweep.running.run_location import RunLocation

    request = EvaluationRequest(
        trials=trials or [],
        weights=weights or [],
        datasets=datasets or [],
        label_fractions=None if labels is None else label_fractions(labels),
        draws=draws,
        epochs=epochs,
        learning_rate=learning_rate,
        changes=single_values(assignments or []),
    )
    run = EvaluationRun.of(request, sweep, storage=storage, name=name, device=device, experiment=experiment)
    if run.note:
        say(run.note)
    if strict:
        run.check_leaks(storage)
    if dry_run:
        run.print_plan()
        return
    location = RunLocation(storage, tracking_uri, address, wait_minutes=wait_cluster)
    sys.exit(run.session(location, max_concurrent, grace, named=sweep is not None).run(extend=False))


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
