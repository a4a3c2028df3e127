import pytest

from experiments.data import sources
from experiments.data.sources import free_memory, streams


@pytest.fixture
def free(monkeypatch):
    """free(count): so many bytes are free in memory."""

    def say(count: int) -> None:
        monkeypatch.setattr(sources, "free_memory", lambda: count)

    return say


def test_what_takes_more_than_half_of_the_free_memory_is_streamed(free, capsys):
    free(2 * 3 * 10 * 10 * 100)
    assert not streams("auto", images=100, image_size=10)
    assert "100 images of 10 px (30 kB decoded) are held decoded" in capsys.readouterr().err
    assert streams("auto", images=101, image_size=10)
    assert "streamed from their files (more than half of the 60 kB" in capsys.readouterr().err


def test_the_choice_can_be_set(free, capsys):
    free(10**12)
    assert streams("stream", images=1, image_size=1)
    free(0)
    assert not streams("device", images=1, image_size=1)
    assert "(data.placement: device)" in capsys.readouterr().err


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_memory() == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 5_000_000


def test_the_drivers_card_is_not_asked(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: 1 / 0)
    assert free_memory() > 0
