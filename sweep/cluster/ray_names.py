"""Names of resources and the environment that Ray reads."""

DRIVER_RESOURCE = "trial_driver"
"""Held by drivers of trials with several workers, which must not hold the CPUs that their workers need."""
HEAD_RESOURCE = "node:__internal_head__"
"""Held by what runs on the head node."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard copies of what our records hold
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_STATE_REFRESH_PERIOD": "86400",  # for its tables; where the cluster is gone, this look ends the process
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths keep their meaning in workers
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # Train looks at its workers every 2 s otherwise, also at start and end
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Read by Ray when it is imported or started; Tune hands those of Train on to the actors."""
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: Ray's servers bind to 127.0.0.1
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process a group that asks whether this machine is being reclaimed
}
