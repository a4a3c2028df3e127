from pathlib import Path

import pytest
import torch

from experiments.config.schema import DataConfig
from experiments.data.images import FileSplit, ImageData, Split
from experiments.data.sources import load_data
from experiments.training.augmentation import Preparation
from experiments.training.batches import Batch, Placed, in_order, measure_confusion, place
from search_spaces.records import InputError

CPU = torch.device("cpu")


def epoch(split: Placed, *, seed: int) -> list[Batch]:
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return list(split.batches(order.split(8)))


def loaded(folder: Path, placement: str) -> ImageData:
    return load_data(DataConfig(source=str(folder), placement=placement), seed=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_of_images_on_the_device_epoch_after_epoch(folder, workers):
    held = place(loaded(folder, "device").train, CPU)
    streamed = place(loaded(folder, "stream").train, CPU, workers=workers)
    for seed in (1, 2):
        wanted, found = epoch(held, seed=seed), epoch(streamed, seed=seed)
        assert len(found) == len(wanted) == 4
        for (images, labels), (own_images, own_labels) in zip(wanted, found, strict=True):
            assert torch.equal(images, own_images)
            assert torch.equal(labels, own_labels)


def test_streamed_data_have_the_fingerprint_and_the_statistics_of_held_data(folder):
    held, streamed = loaded(folder, "device"), loaded(folder, "stream")
    assert isinstance(held.train, Split)
    assert isinstance(streamed.train, FileSplit)
    assert streamed.fingerprint == held.fingerprint
    assert streamed.statistics == held.statistics
    assert (streamed.channels, streamed.image_size) == (held.channels, held.image_size)


def test_accuracy_is_the_same_from_a_stream(folder):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    data = loaded(folder, "device")
    prepare = Preparation.of(data.statistics, resolution=8, device=CPU)
    splits = place(data.train, CPU), place(loaded(folder, "stream").train, CPU, workers=0)
    held, streamed = (measure_confusion(network, split, prepare=prepare) for split in splits)
    assert torch.equal(held, streamed)
    assert 0 < held.diagonal().sum() < held.sum()


@pytest.mark.parametrize("workers", [0, 1])
def test_file_that_breaks_under_way_is_named_in_one_line(folder, workers):
    data = loaded(folder, "stream")
    Path(data.train.paths[3]).write_bytes(b"no image")
    split = place(data.train, CPU, workers=workers)
    with pytest.raises(InputError, match=r"cannot decode image '.*\.png'") as told:
        list(split.batches(in_order(len(split), batch_size=4)))
    assert "\n" not in str(told.value)


def test_a_workers_part_of_a_stream_is_every_second_image(folder):
    data = loaded(folder, "stream")
    part = place(data.train, CPU, workers=0).part(1, 2)
    assert part.labels.tolist() == data.train.labels[1::2].tolist()


def test_training_from_a_stream_gives_the_curve_of_images_on_the_device(folder, train):
    def curve(placement: str) -> list[tuple[float, float]]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
        results = train(network, data=loaded(folder, placement), epochs=2)
        return [(result.train_loss, result.accuracy) for result in results]

    assert curve("stream") == curve("device")
