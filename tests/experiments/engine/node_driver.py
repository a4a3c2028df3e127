"""The driver of the node tests: a search whose trials tell where they ran, and from which epoch.

Its evaluation reaches the nodes by value, as that of a user's own script.
"""

import sys
import time
from pathlib import Path

from experiments import SearchConfig, search
from experiments.config.messages import WorkFailed

config = SearchConfig.load(sys.argv[1])
SECONDS = float(sys.argv[2])  # an epoch
RUN = str(config.run_folder)
EPOCHS = config.search.epochs


def evaluate(architecture, *, report, seed, checkpoint_dir):  # noqa: ARG001
    import ray

    context = ray.get_runtime_context()
    kept = checkpoint_dir / "epoch"
    began = int(kept.read_text()) if kept.exists() else 0
    accuracy = architecture.stages[-1].channels / 100
    for epoch in range(began + 1, EPOCHS + 1):
        time.sleep(SECONDS)
        kept.write_text(str(epoch))
        report(epoch, accuracy * epoch / EPOCHS)
    return {
        "accuracy": accuracy,
        "began": began,
        "node": int(context.get_node_id()[:10], 16),
        "gpu": context.get_assigned_resources().get("GPU", 0),
        "sees_the_run": float(Path(RUN).exists()),
    }


if __name__ == "__main__":
    try:
        search(config, evaluate=evaluate, num_classes=10, in_channels=1)
    except WorkFailed as failed:
        print(failed, file=sys.stderr)
        sys.exit(1)
