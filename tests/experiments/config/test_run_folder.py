"""A run's folder from its first instant on."""

import pytest

from experiments.config.files import replace_file, write_bytes
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from search_spaces import InputError


@pytest.fixture
def config(tmp_path):
    return SearchConfig(name="test", run=tmp_path / "run")


@pytest.mark.parametrize(
    "left",
    [
        [],
        [".lock"],
        [".lock", f".config.yaml.{'0a' * 16}.tmp"],
        [".lock", f".study.db.{'0a' * 16}.tmp", f".study.db.{'0a' * 16}.tmp-wal"],
    ],
)
def test_a_folder_of_a_command_that_was_killed_at_once_is_begun_anew(config, left):
    config.run_folder.mkdir()
    for name in left:
        (config.run_folder / name).write_text("cut")
    folder = RunFolder.check(config, set())
    folder.write_config()
    assert {file.name for file in folder.path.iterdir()} <= {".lock", "config.yaml"}
    assert RunFolder.open(folder.path).config.name == "test"


@pytest.mark.parametrize("name", ["notes.txt", ".git", "study.db", ".notes.tmp"])
def test_a_folder_that_holds_something_else_is_refused(config, name):
    config.run_folder.mkdir()
    (config.run_folder / name).write_text("mine")
    with pytest.raises(InputError, match="is not empty and not a run folder"):
        RunFolder.check(config, set())


@pytest.mark.parametrize("content", [b"", b'{"python": "3.', b"[1]", b"\xff\xfe", b"[" * 99_999])
def test_a_cut_environment_is_one_line(config, content):
    config.run_folder.mkdir()
    folder = RunFolder(config.run_folder, config)
    (folder.path / "environment.json").write_bytes(content)
    with pytest.raises(InputError, match=r"environment\.json' was cut or changed.*remove") as told:
        folder.check_facts({"data": "x"})
    assert "\n" not in str(told.value)


def test_a_full_disk_is_told_with_the_way_out(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.config.files.os.fsync", full)
    with pytest.raises(InputError, match="No space left on device; make room"):
        write_bytes(tmp_path / "x", b"1")
    assert list(tmp_path.iterdir()) == []


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("é" * 127)  # 254 bytes
    replace_file(path, lambda file: file.write(b"1"))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
