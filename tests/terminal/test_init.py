"""``heed init`` with arguments that will not do: told before any file is read, and nothing is left behind."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from heed.errors import ConfigError, DataError, HeedError, ModelError, ProjectError
from heed.terminal.init import init_from_files, init_sandbox, init_studio
from heed.train.progress import Watcher
from tiny_project import write_lines


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_lines(tmp_path / "in.jsonl", [{"prompt": "one"}])


@pytest.mark.parametrize(
    ("folder", "model", "error", "told"),
    [
        ("p", "", ModelError, "without a name"),
        ("p", "~nobody-of-this-name/x", ModelError, "does not exist"),
        ("p", "in.jsonl", ModelError, "it is a file"),
        ("p", "a\udcff", ConfigError, "'model' is"),
        ("p\udcff", "some/model", ProjectError, "no UTF-8 form"),
        ("in.jsonl", "some/model", ProjectError, "it is a file"),
        ("in.jsonl/p", "some/model", ProjectError, "in.jsonl is a file"),
        (".", "some/model", ProjectError, "not empty"),
    ],
)
def test_what_cannot_be_a_project_is_told(
    prompts: Path, folder: str, model: str, error: type[HeedError], told: str
) -> None:
    with pytest.raises(error) as caught:
        init_from_files(Path(folder), model, prompts, None)
    assert told in str(caught.value)
    assert os.listdir() == ["in.jsonl"]


@pytest.mark.parametrize("folder", ["p\udcff", "in.jsonl/p"])
def test_the_built_in_world_is_not_trained_for_a_folder_that_cannot_be(
    prompts: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("HEED_CACHE", "/dev/null/none")  # training it would fail otherwise
    with pytest.raises(ProjectError, match=r"no UTF-8 form|is a file"):
        init_sandbox(Path(folder), 0, Watcher())


def test_without_a_home_the_cache_must_be_named(prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEED_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    with pytest.raises(ConfigError, match="export HEED_CACHE"):
        init_sandbox(Path("p"), 0, Watcher())


def test_a_pipe_is_refused_before_it_is_emptied(prompts: Path) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=('{"prompt": "one"}\n',))
    for files in ((Path("pipe"), None), (prompts, Path("pipe"))):
        with pytest.raises(DataError, match=r"cannot copy pipe.*Save it to a file"):
            init_from_files(Path("p"), "some/model", *files)
    assert not Path("p").exists()
    writer.start()
    assert Path("pipe").read_text()
    writer.join()


def test_a_new_studio_is_closed_to_other_users_and_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    before = os.umask(0o022)
    try:
        for place in (tmp_path / "above" / "ours", there):
            init_studio(place)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (tmp_path / "above", tmp_path / "above" / "ours", there)]
    assert modes == [0o755, 0o700, 0o755]
