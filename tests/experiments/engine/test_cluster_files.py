"""The cluster descriptions under docs/cluster have the form that their readers take."""

from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[3] / "docs"
PINNED = next(
    line.removeprefix("ray==").strip()
    for line in (DOCS.parent / "constraints.txt").read_text().splitlines()
    if line.startswith("ray==")
)
START = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def aws() -> dict:
    return yaml.safe_load((DOCS / "cluster" / "aws.yaml").read_text())


@pytest.fixture
def kuberay() -> dict[str, list[dict]]:
    """The manifest's objects by kind."""
    objects: dict[str, list[dict]] = {}
    for part in yaml.safe_load_all((DOCS / "cluster" / "kuberay.yaml").read_text()):
        objects.setdefault(part["kind"], []).append(part)
    return objects


def test_rays_own_check_takes_the_aws_cluster(aws):
    from ray.autoscaler._private.util import fill_node_type_min_max_workers, validate_config

    validate_config({"cluster_synced_files": [], **aws})
    fill_node_type_min_max_workers(aws)
    assert aws["available_node_types"]["gpu"]["max_workers"] <= aws["max_workers"]


def test_the_aws_check_can_fail(aws):
    import jsonschema
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config({"cluster_synced_files": [], **aws, "max_worker": 3})


def test_the_aws_cluster_keeps_tokens_and_its_dashboard_to_itself(aws):
    starts = [command for part in START for command in aws[part] if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "~/.ray/auth_token" in aws["file_mounts"]
    assert aws["docker"]["image"].split(":")[1].startswith(f"{PINNED}-py3")


def test_the_kuberay_manifest_has_the_fields_that_the_operator_needs(kuberay):
    (cluster,) = kuberay["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    spec = cluster["spec"]
    assert spec["rayVersion"] == PINNED
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert f"ray-{PINNED}-py3" in container["image"]
        assert container["resources"]["limits"]["memory"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in spec["workerGroupSpecs"]:
        assert group["groupName"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_kuberay_cluster_keeps_tokens_and_its_dashboard_to_itself(kuberay):
    (cluster,), (policy,) = kuberay["RayCluster"], kuberay["NetworkPolicy"]
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]


def test_only_the_head_has_the_runs_and_the_password(kuberay):
    (cluster,) = kuberay["RayCluster"]
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in head["volumes"]}
    assert claims == {claim["metadata"]["name"] for claim in kuberay["PersistentVolumeClaim"]}
    assert "SCALER_STORAGE" in {entry["name"] for entry in head["containers"][0]["env"]}
    for group in cluster["spec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        assert "volumes" not in pod
        assert "env" not in pod["containers"][0]
