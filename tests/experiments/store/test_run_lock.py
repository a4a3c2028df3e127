"""Who may drive a run: one command, told apart by the lock of its folder."""

import pytest

from experiments.config.files import in_use
from experiments.config.sections import ClusterSection
from experiments.store.run_lock import RunLock
from search_spaces import InputError


def test_a_run_is_in_use_while_its_lock_is_held(tmp_path):
    folder = tmp_path / "run"
    assert not in_use(folder)
    with RunLock(folder):
        assert in_use(folder)
        with pytest.raises(InputError, match="is in use by another command"), RunLock(folder):
            pass
        assert in_use(folder)
    assert not in_use(folder)


def test_several_drivers_of_an_earlier_version_are_refused_and_one_is_ignored():
    assert ClusterSection.parse({"drivers": "one"}, source="x") == ClusterSection()
    with pytest.raises(InputError, match="one command drives a run; remove the line"):
        ClusterSection.parse({"drivers": "many"}, source="x")
