"""The file of secrets: made once, closed to others, and refused where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heed.errors import ProjectError
from heed.people.secrets import SECRETS_FILE, SSO_VARIABLE, load_secrets


@pytest.fixture(autouse=True)
def no_secret_of_this_machine(monkeypatch):
    monkeypatch.delenv(SSO_VARIABLE, raising=False)


def write(folder: Path, content: str, mode: int = 0o600) -> Path:
    file = folder / SECRETS_FILE
    file.write_text(content)
    file.chmod(mode)
    return file


def test_the_first_start_makes_it_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        made = load_secrets(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / SECRETS_FILE).stat().st_mode & 0o777 == 0o600
    assert load_secrets(tmp_path) == made
    assert [entry.name for entry in tmp_path.iterdir()] == [SECRETS_FILE]


def test_two_projects_have_two_keys(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_secrets(tmp_path / "a").key != load_secrets(tmp_path / "b").key


def test_of_many_starts_at_once_all_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len({found.key for found in pool.map(lambda _: load_secrets(tmp_path), range(16))}) == 1
    program = "import sys; from pathlib import Path; from heed.people.secrets import load_secrets;"
    program += "print(load_secrets(Path(sys.argv[1])).key)"
    (tmp_path / "other").mkdir()
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "other")], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o602, 0o666])
def test_one_that_others_may_read_or_write_is_refused(tmp_path, mode):
    load_secrets(tmp_path)
    (tmp_path / SECRETS_FILE).chmod(mode)
    with pytest.raises(ProjectError, match=f"mode 0{mode:o}"):
        load_secrets(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"key": 7}',
        '{"key": "changeme"}',
        json.dumps({"key": "0" * 64}),
        json.dumps({"key": "ab" * 32}),
        json.dumps({"key": "secret" * 10 + "abcd"}),
    ],
)
def test_a_weak_or_damaged_key_is_refused(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(ProjectError, match="missing or weak"):
        load_secrets(tmp_path)


def test_a_link_or_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    load_secrets(tmp_path / "real")
    (tmp_path / SECRETS_FILE).symlink_to(tmp_path / "real" / SECRETS_FILE)
    with pytest.raises(ProjectError):
        load_secrets(tmp_path)
    (tmp_path / "real" / SECRETS_FILE).unlink()
    (tmp_path / "real" / SECRETS_FILE).mkdir()
    with pytest.raises(ProjectError):
        load_secrets(tmp_path / "real")


def test_the_key_is_never_shown_and_each_use_has_its_own(tmp_path):
    found = load_secrets(tmp_path)
    assert found.key not in repr(found)
    assert found.derived("sign-in") != found.derived("webhooks")
    assert found.derived("sign-in") == load_secrets(tmp_path).derived("sign-in")
    assert found.key not in found.derived("sign-in").hex()


def test_the_client_secret_comes_from_the_file_or_from_the_environment(tmp_path, monkeypatch):
    key = load_secrets(tmp_path).key
    assert load_secrets(tmp_path).sso is None
    write(tmp_path, json.dumps({"key": key, "sso": "of the file"}))
    assert load_secrets(tmp_path).sso == "of the file"
    monkeypatch.setenv(SSO_VARIABLE, "of the environment")
    assert load_secrets(tmp_path).sso == "of the environment"
    monkeypatch.delenv(SSO_VARIABLE)
    write(tmp_path, json.dumps({"key": key, "sso": ["x"]}))
    with pytest.raises(ProjectError, match="'sso'"):
        load_secrets(tmp_path)
