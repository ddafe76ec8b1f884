"""Names of Ray's resources, and the environment variables that Ray reads."""

DRIVER_RESOURCE = "trial_driver"
"""Resource of drivers of trials with several workers; a driver must not hold CPUs that its workers need."""
HEAD_RESOURCE = "node:__internal_head__"
"""Resource of tasks that run on the head node."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard copies of the records
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_STATE_REFRESH_PERIOD": "86400",  # for Tune's tables; if the cluster is gone, this refresh ends the process
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay valid in workers
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # Train's default is 2 s, also at start and end
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment variables that Ray reads on import or start; Tune passes those of Train to the actors."""
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: Ray's servers bind to 127.0.0.1
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process per group that checks for this machine's preemption
}
