import os
import subprocess
import sys

import numpy as np
import pytest

from experiments.config.schema import DataConfig
from experiments.data.images import Split
from experiments.data.sources import load_data
from experiments.data.split import UndividedData, divide, stratified_sample
from search_spaces.records import InputError


def numbered(*sizes: int) -> UndividedData:
    """Class i has sizes[i] images; the image's two pixels are its own number."""
    labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    numbers = np.arange(len(labels), dtype="<u2").view(np.uint8).reshape(-1, 1, 1, 2)
    classes = tuple(f"class{label}" for label in range(len(sizes)))
    return UndividedData("numbered", classes, Split(numbers, labels))


def numbers(split: Split) -> list[int]:
    return np.ascontiguousarray(split.images).view("<u2").ravel().tolist()


def test_parts_are_disjoint_and_together_everything():
    data = divide(numbered(50, 30, 20), DataConfig(), seed=1)
    parts = numbers(data.train), numbers(data.validation), numbers(data.test)
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(100))
    assert [len(part) for part in parts] == [64, 16, 20]


def test_parts_keep_the_proportions_of_the_classes():
    data = divide(numbered(500, 300, 200), DataConfig(), seed=1)
    assert np.bincount(data.test.labels).tolist() == [100, 60, 40]
    assert np.bincount(data.validation.labels).tolist() == [80, 48, 32]
    assert np.bincount(data.train.labels).tolist() == [320, 192, 128]


def test_labels_stay_with_their_images():
    data = divide(numbered(500, 300), DataConfig(train_limit=99), seed=3)
    for part in (data.train, data.validation, data.test):
        assert [int(number >= 500) for number in numbers(part)] == part.labels.tolist()


def test_rare_classes_are_in_every_part():
    data = divide(numbered(1000, 3), DataConfig(validation_fraction=0.01), seed=0)
    for part in (data.train, data.validation, data.test):
        assert np.bincount(part.labels)[1] == 1


def test_seed_moves_the_validation_part_and_not_the_test_part():
    one, other = (divide(numbered(50, 50), DataConfig(), seed=seed) for seed in (1, 2))
    assert numbers(one.test) == numbers(other.test)
    assert numbers(one.validation) != numbers(other.validation)
    assert one.fingerprint != other.fingerprint


def test_train_limit_samples_the_training_part_alone():
    whole, limited = (
        divide(numbered(600, 200), DataConfig(train_limit=limit), seed=1) for limit in (None, 100)
    )
    assert np.bincount(limited.train.labels).tolist() == [75, 25]
    assert set(numbers(limited.train)) < set(numbers(whole.train))
    assert numbers(limited.validation) == numbers(whole.validation)


@pytest.mark.parametrize("count", [3, 7, 50, 97])
def test_sample_has_exactly_the_size_asked_for(count):
    labels = np.repeat(np.arange(3), [90, 9, 1])
    sample = stratified_sample(labels, count, leave=0, random=np.random.RandomState(0))
    assert len(np.unique(sample)) == count
    assert set(labels[sample]) == {0, 1, 2}


def test_given_parts_are_left_whole():
    source = numbered(10, 10)
    given = UndividedData(source.name, source.classes, *(source.train,) * 3)
    data = divide(given, DataConfig(), seed=0)
    assert len(data.train) == len(data.validation) == len(data.test) == 20


def test_class_too_small_to_cut_is_refused():
    with pytest.raises(InputError, match=r"'class1' of 'numbered' has 2 .* at least 3 .*test/"):
        divide(numbered(9, 2), DataConfig(), seed=0)


def test_train_limit_below_the_number_of_classes_is_refused():
    with pytest.raises(InputError, match=r"train_limit .* number of classes \(3\), but is 2"):
        divide(numbered(9, 9, 9), DataConfig(train_limit=2), seed=0)


def test_split_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from experiments.config.schema import DataConfig;"
        "from experiments.data.sources import load_data;"
        "print(load_data(DataConfig(), seed=5).fingerprint)"
    )
    here = load_data(DataConfig(), seed=5).fingerprint
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
