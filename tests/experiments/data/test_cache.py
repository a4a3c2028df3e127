import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from experiments.config.schema import DataConfig
from experiments.data import sources
from experiments.data.decoding import cache_folder, cache_key, cached_array
from experiments.data.folder import list_folder
from experiments.data.images import Split
from experiments.data.sources import load_data

IMAGES = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)


def never() -> np.ndarray:
    raise AssertionError("what is kept must not be built again")


def test_images_are_built_once_and_then_memory_mapped():
    cached_array("key", lambda: IMAGES)
    kept = cached_array("key", never)
    assert isinstance(kept, np.memmap)
    assert np.array_equal(kept, IMAGES)


def test_folder_is_decoded_once(flat, monkeypatch):
    first = load_data(DataConfig(source=str(flat)), seed=0)
    monkeypatch.setattr(sources, "decode_files", never)
    assert load_data(DataConfig(source=str(flat)), seed=0).fingerprint == first.fingerprint


def test_changed_file_is_decoded_again(flat, paint):
    first = load_data(DataConfig(source=str(flat)), seed=0)
    file = paint(flat / "cat" / "0.png", level=50)
    os.utime(file, ns=(1, 1))
    assert load_data(DataConfig(source=str(flat)), seed=0).fingerprint != first.fingerprint


def test_key_changes_with_size_and_files(flat, paint):
    keys = {cache_key(list_folder(flat), image_size=size) for size in (None, 8, 16)}
    paint(flat / "cat" / "new.png")
    keys.add(cache_key(list_folder(flat), image_size=None))
    assert len(keys) == 4


def flip_a_bit(content: bytes) -> bytes:
    return content[:150] + bytes([content[150] ^ 1]) + content[151:]


@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda c: c[:-40], lambda c: c[:20], lambda c: c[:0], lambda c: c + b"x"]
)
def test_damaged_file_is_built_anew(damage, capsys):
    cached_array("key", lambda: IMAGES)
    path = cache_folder() / "key.npy"
    path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(cached_array("key", lambda: IMAGES), IMAGES)
    assert "is damaged" in capsys.readouterr().err
    assert np.array_equal(cached_array("key", never), IMAGES)


def test_unwritable_cache_falls_back_to_memory_with_a_warning(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("SCALER_CACHE", str(tmp_path / "file" / "cache"))
    assert cached_array("key", lambda: IMAGES) is IMAGES
    assert "set SCALER_CACHE" in capsys.readouterr().err


def test_writers_at_the_same_time_leave_one_whole_file():
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: cached_array("key", lambda: IMAGES), range(32)))
    assert all(np.array_equal(result, IMAGES) for result in results)
    assert [file.name for file in cache_folder().iterdir()] == ["key.npy"]


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SCALER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "scaler"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "scaler"


def test_a_memory_mapped_split_travels_by_value_and_out_of_band():
    kept = cached_array("key", lambda: IMAGES)
    split = Split(kept, np.arange(len(kept), dtype=np.int64))
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(split, protocol=5, buffer_callback=buffers.append)
    (cache_folder() / "key.npy").unlink()
    assert [buffer.raw().nbytes for buffer in buffers] == [IMAGES.nbytes, 8 * len(IMAGES)]
    assert len(head) < 1000
    assert np.array_equal(pickle.loads(head, buffers=buffers).images, IMAGES)
