"""The place of a run's own Ray: short, the user's alone, and gone afterwards."""

import os
import stat
from pathlib import Path

import pytest

from experiments.engine.machines import ray_internals
from experiments.engine.machines.own_ray import own_ray_place


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    ray = ("RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
    for name in (*ray, "SCALER_TRIALS"):  # another test's Ray may be running
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["t", "slurm_job_" * 8])
def test_its_folder_is_short_whatever_tmpdir_is(home, monkeypatch, name):
    (home / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(home / name))
    with own_ray_place() as folder:
        assert (
            len(f"{folder}/session_2026-11-25_20-59-30_584271_1234567/sockets/plasma_store") < 104
        )
        assert stat.S_IMODE(Path(folder).parent.stat().st_mode) == 0o700
        trials = Path(os.environ["SCALER_TRIALS"])
        assert trials.parent == home / name
    assert not Path(folder).parent.exists()
    assert not trials.exists()
    assert "SCALER_TRIALS" not in os.environ


def test_ray_tmpdir_is_the_users(home, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(home))
    with own_ray_place() as folder:
        assert folder is None


@pytest.mark.parametrize("mode", [None, 0o644])
def test_the_token_is_readable_by_its_owner_alone(home, mode):
    token = home / ".ray" / "auth_token"
    if mode is not None:
        token.parent.mkdir()
        token.write_text("secret")
        token.chmod(mode)
    with own_ray_place():
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "secret" or len(token.read_text()) == 64


def test_it_listens_on_loopback_and_a_cluster_does_not():
    before = ray_internals.ray_constants.ENABLE_RAY_CLUSTER
    with own_ray_place():
        assert ray_internals.ray_constants.ENABLE_RAY_CLUSTER is False
    assert ray_internals.ray_constants.ENABLE_RAY_CLUSTER is before
