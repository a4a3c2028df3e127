"""Every name of Ray that we use and that is not its public interface, with the reason.

Ray may move these names in any release. So `pyproject.toml` bounds Ray to the releases that passed
our tests, and a test looks up every name of this file. Other files write `ray_internals.Trial`. A
name is looked up when it is asked for, because Ray takes seconds to import.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

# name -> (the module of Ray that has it, the members that we use or override, why we need it)
NAMES: dict[str, tuple[str, str, str]] = {
    # Tune for developers. Its public `Searcher` puts every trial through a parser, looks its class
    # up in the cluster and copies its settings; that took longer than the trial's way to a worker.
    "Trial": (
        "ray.tune.experiment",
        "create_placement_group_factory generate_id get_json_state get_trainable_cls set_config "
        "set_ray_actor update_last_result",
        "carries our job to a worker",
    ),
    "SearchAlgorithm": (
        "ray.tune.search",
        "add_configurations is_finished next_trial on_trial_complete",
        "hands such trials to Tune",
    ),
    # Logger callbacks are public, but only Tune itself is meant to call them. We call them with
    # what our store is told: Tune's own figures would not have our names.
    "TBXLoggerCallback": (
        "ray.tune.logger",
        "log_trial_end log_trial_result log_trial_start on_experiment_end setup",
        "writes TensorBoard files",
    ),
    "MLflowLoggerCallback": (
        "ray.air.integrations.mlflow",
        "log_trial_end log_trial_result log_trial_start on_experiment_end setup",
        "writes to MLflow",
    ),
    "WandbLoggerCallback": (
        "ray.air.integrations.wandb",
        "log_trial_end log_trial_result log_trial_start on_experiment_end setup",
        "writes to Weights & Biases",
    ),
    # The public `ray.init` retries for minutes where a head is away, and aborts the process where
    # a token is missing. With these a probe asks the head in a second what joining would meet.
    "GcsClient": ("ray._raylet", "", "reads a cluster's versions, nodes and dashboard"),
    "InnerGcsClient": (
        "ray._raylet",
        "get_all_node_info internal_kv_get",
        "has the methods of GcsClient, which hands every call on to it",
    ),
    "AuthenticationTokenLoader": ("ray._raylet", "instance", "tells whether a token is here"),
    "Config": ("ray._raylet", "initialize", "reads RAY_AUTH_MODE again after Ray's import"),
    "find_node_ids": ("ray._private.services", "", "tells which nodes run on this machine"),
    "canonicalize_bootstrap_address_or_die": (
        "ray._private.services",
        "",
        "finds the cluster of this machine for the address `auto`",
    ),
    "get_dashboard_dependency_error": (
        "ray._private.utils",
        "",
        "tells before the start that the dashboard is not installed",
    ),
    # RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is public, but is read only once, when Ray is imported.
    "ray_constants": (
        "ray._private",
        "ENABLE_RAY_CLUSTER",
        "lets a Ray of the run's own listen on loopback alone",
    ),
    "request_resources": ("ray.autoscaler.sdk", "", "asks an autoscaler for a node"),
    # RAY_DEDUP_LOGS_SKIP_REGEX is public, but is read only once, when Ray is imported.
    "stdout_deduplicator": (
        "ray._private.ray_logging",
        "skip_re",
        "keeps Ray's lines about a lost worker off the screen; the trial's reason has them",
    ),
    "stderr_deduplicator": ("ray._private.ray_logging", "skip_re", "the same for standard error"),
}

# Variables that Ray and Tune read, with our values. What the user has set stays.
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # no second progress screen beside ours
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a worker that asked for no GPU sees none
    "RAY_process_group_cleanup_enabled": "1",  # the children of a worker end with it
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # else a SIGTERM in `ray.init` ends in a C++ dump
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files by default
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no reward
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # seconds: Tune's own state is never read
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the store and our own lines have the errors
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",  # no warning of slow disks
}
PENDING = "TUNE_MAX_PENDING_TRIALS_PG"  # workers that Tune asks for at once
RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"  # after this time Ray gives a head up


def __getattr__(name: str) -> Any:
    """The object behind one of NAMES. Raises ImportError where this release of Ray lacks it."""
    if name not in NAMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, _, why = NAMES[name]
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise ImportError(
            f"Ray {version('ray')} has no {module}.{name}, which {why}; "
            f"install a release of Ray that pyproject.toml allows"
        ) from None
