"""How images arrive may change between two commands on one run; which images they are may not."""

from pathlib import Path

import pytest

from experiments.config.run_folder import check_same
from experiments.config.schema import DataConfig, SearchConfig
from experiments.training.members.folder import TrainRequest
from search_spaces import load_architecture
from search_spaces.records import InputError

ELSEWISE = DataConfig(download=True, placement="stream")
OTHER = DataConfig(augmentation={"cutout": 0.5})


def test_a_run_goes_on_streamed_and_not_with_another_augmentation():
    before = SearchConfig(name="x")
    check_same(before, before.replace(data=ELSEWISE), "run", {"search"})
    with pytest.raises(InputError, match=r"'run' holds a run with data\.augmentation = None"):
        check_same(before, before.replace(data=OTHER), "run", {"search"})


def test_a_training_goes_on_streamed_and_not_with_another_augmentation():
    before = TrainRequest(architecture=load_architecture("mnasnet_small"), epochs=1)
    before.check_same(before.replace(data=ELSEWISE), Path("run"))
    with pytest.raises(InputError, match=r"'run' holds a training with data\.augmentation = None"):
        before.check_same(before.replace(data=OTHER), Path("run"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "mine"}, "architecture.name = mnasnet_small, but now it is mine; continue"),
        ({"resolution": 64}, "architecture.resolution = 224, but now it is 64; continue"),
        (
            {"stages": load_architecture("mobilenet_v2").stages},
            "architecture.stages.0.block.activation = relu, but now",
        ),
    ],
)
def test_another_network_is_told_by_what_differs_in_a_short_line(change, told):
    network = load_architecture("mnasnet_small")
    before = TrainRequest(architecture=network, epochs=1)
    with pytest.raises(InputError) as caught:
        before.check_same(before.replace(architecture=network.replace(**change)), Path("run"))
    assert told in str(caught.value)
    assert len(str(caught.value)) < 350


@pytest.mark.parametrize(
    ("augmentation", "told"),
    [
        ({"cutuot": 0.5}, "unknown key 'data.augmentation.cutuot'; did you mean 'cutout'"),
        ({"cutout": 1.5}, "data.augmentation.cutout: input should be less than 1, but got 1.5"),
        ({"randaugment": {"magnitude": 31}}, "randaugment.magnitude: input should be less than"),
    ],
)
def test_mistake_in_the_augmentation_is_told_with_its_place(augmentation, told):
    with pytest.raises(InputError, match=told):
        SearchConfig.parse({"name": "x", "data": {"augmentation": augmentation}}, source="config")
