import pytest

from experiments.config.schema import DataConfig
from experiments.data.sources import load_data


@pytest.mark.parametrize("placement", ["device", "stream"])
def test_the_same_image_in_two_parts_is_named(parted, paint, capsys, placement):
    for number, path in enumerate(sorted(parted.rglob("*.png"))):
        paint(path, level=10 * number)
    paint(parted / "test" / "dog" / "again.png", level=77)
    paint(parted / "train" / "cat" / "first.png", level=77)
    load_data(DataConfig(source=str(parted), placement=placement), seed=0)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "1 of the 5 images of the test part are in the train part too" in line
    assert f"'{parted}/train/cat/first.png' and '{parted}/test/dog/again.png'" in line


def test_different_images_are_not_spoken_of(flat, capsys):
    load_data(DataConfig(source=str(flat)), seed=0)
    assert "warning" not in capsys.readouterr().err
