"""What travels, and what the driver keeps of it."""

import errno
import os
import subprocess
import zipfile

import pytest

from experiments.store.checkpoints import Checkpoint, Checkpoints, files, pack, unpack


def packed(tmp_path, **files) -> bytes:
    folder = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return pack(folder)


def test_a_folder_comes_out_as_it_went_in(tmp_path):
    content = packed(tmp_path, a="one", deep__er__b="two")
    unpack(content, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "one"
    assert (tmp_path / "out" / "deep" / "er" / "b").read_text() == "two"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_a_file_outside_of_the_folder_is_refused(tmp_path, name):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ValueError, match="outside of its folder"):
        unpack(path.read_bytes(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_newer_checkpoint_takes_the_older_ones_place(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    for epoch in (1, 2, 10):
        kept.save("trial", Checkpoint(epoch, packed(tmp_path, a=str(epoch))))
    assert [path.name for path in (kept.folder / "trial").iterdir()] == ["epoch_00010.zip"]
    newest = kept.newest("trial")
    assert newest is not None
    assert (newest.epoch, files(newest.content)) == (10, {"a": b"10"})
    assert kept.newest("other") is None


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_where_the_newest_is_damaged_the_older_one_is_taken(tmp_path, share):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save("trial", Checkpoint(1, packed(tmp_path, a="one")))
    whole = packed(tmp_path, a="two" * 1000)
    torn = kept.folder / "trial" / "epoch_00002.zip"
    torn.write_bytes(whole[: int(len(whole) * share)])
    newest = kept.newest("trial")
    assert newest is not None
    assert newest.epoch == 1


def test_at_its_end_a_trials_files_take_the_place_of_its_checkpoints(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save("trial", Checkpoint(1, packed(tmp_path, a="one")))
    kept.place("trial", packed(tmp_path, weights="w", more__b="b"))
    kept.drop("trial")
    left = sorted(p.relative_to(kept.folder).as_posix() for p in kept.folder.rglob("*"))
    assert left == ["trial", "trial/more", "trial/more/b", "trial/weights"]


def test_a_trial_that_left_nothing_leaves_no_folder(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save("trial", Checkpoint(1, packed(tmp_path, a="one")))
    kept.drop("trial")
    assert list(kept.folder.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_on_a_full_disk_the_older_checkpoint_stays(tmp_path, small_disk):
    kept = Checkpoints(small_disk)
    kept.save("trial", Checkpoint(1, packed(tmp_path, a="x" * 150_000)))
    with pytest.raises(OSError, match="No space left") as caught:
        kept.save("trial", Checkpoint(2, packed(tmp_path, a="y" * 150_000)))
    assert caught.value.errno == errno.ENOSPC
    newest = kept.newest("trial")
    assert newest is not None
    assert (newest.epoch, len(files(newest.content)["a"])) == (1, 150_000)
    assert [path.name for path in (small_disk / "trial").iterdir()] == ["epoch_00001.zip"]


@pytest.mark.parametrize("name", ["epoch_00003.zip", "a\nb", "a\\b", "\udcff", "d/\x1b[2J"])
def test_a_file_that_cannot_be_kept_is_named(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("1")
    with pytest.raises(ValueError, match="a checkpoint file is called") as told:
        pack(tmp_path)
    assert str(told.value).isprintable()


def test_names_of_any_length_and_script_are_kept(tmp_path):
    names = {"x" * 255, "é" * 127, "a b", "-rf", "~", "d/e/..f", "C:", "%s{0}", ".x.tmp"}
    worker, checkpoints = tmp_path / "worker", Checkpoints(tmp_path / "run")
    for name in names:
        (worker / name).parent.mkdir(parents=True, exist_ok=True)
        (worker / name).write_text(name)
    checkpoints.place("trial", pack(worker))
    checkpoints.drop("trial")
    kept = tmp_path / "run" / "trial"
    found = {
        str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()
    }
    assert found == {name: name for name in names}
