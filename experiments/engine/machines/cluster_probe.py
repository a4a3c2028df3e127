"""Asks a Ray head what would happen to a run that joins it; `cluster_check` runs this.

Ray aborts a process that has no token, and retries for minutes where a head is away. So this is a
process of its own, which may die or be stopped. It prints one line of JSON.
"""

import json
import os
import sys
from typing import Any

from experiments.engine.machines import ray_internals


def probe(address: str) -> dict[str, Any]:
    """The answer of the head at `address` (host:port), under the RAY_AUTH_MODE of this process."""
    from ray.exceptions import AuthenticationError

    if os.environ.get("RAY_AUTH_MODE") == "token":
        try:
            found = ray_internals.AuthenticationTokenLoader.instance().has_token(
                ignore_auth_mode=True
            )
        except Exception:  # a file is named that cannot be read
            found = False
        if not found:
            return {"reply": "no token"}
    try:
        client = ray_internals.GcsClient(address=address)
        metadata = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=10)
        dashboard = client.internal_kv_get(b"webui:url", b"dashboard", timeout=10)
        nodes = client.get_all_node_info(timeout=10)
    except AuthenticationError:
        return {"reply": "refused"}
    alive = {
        node.node_id.hex(): dict(node.resources_total)
        for node in nodes.values()
        if node.state == 0  # GcsNodeInfo.ALIVE
    }
    return {
        "reply": "welcome",
        "versions": json.loads(metadata or b"{}"),
        "dashboard": (dashboard or b"").decode(),
        "here": sorted(alive.keys() & set(ray_internals.find_node_ids())),
        "nodes": list(alive.values()),
    }


def locate() -> dict[str, Any]:
    """The address of the cluster that runs on this machine, for `auto`, or None and why."""
    try:
        return {"address": ray_internals.canonicalize_bootstrap_address_or_die("auto")}
    except ConnectionError as error:
        return {"address": None, "reason": str(error)}


if __name__ == "__main__":
    print(json.dumps(locate() if sys.argv[1] == "auto" else probe(sys.argv[1])))
