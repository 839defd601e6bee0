"""``heed serve``, ``heed invite`` and ``heed audit`` as real processes."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from heed.config import ProjectSettings, ServeSettings
from heed.errors import ConfigError
from heed.feedback import asked
from heed.feedback.forms import default_form
from heed.people import accounts, tokens
from heed.project import Project
from heed.web.server import Serving, address_of, listen
from tiny_project import completed as heed

HEED = [sys.executable, "-c", "from heed.cli import main; main()"]
PASSWORD = "a horse that staples batteries"


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **variables}


SAID_BEFORE: list[str] = []
"""What the server that was started last said before its address."""


@contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that is ready, and its address."""
    command = [*HEED, "serve", "--port", "0", *arguments]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment(**variables), start_new_session=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        SAID_BEFORE.clear()
        while line and "http" not in line:
            SAID_BEFORE.append(line)
            line = process.stdout.readline()
        if not line:
            pytest.fail(f"it did not start: {process.communicate()[1]}")
        yield process, line.split()[-1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> str:
    """Tell a server to end; what else it printed."""
    process.send_signal(how)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    Project.create(tmp_path / "p", ProjectSettings(name="p", model="nobody/none")).close()
    return tmp_path / "p"


def test_a_fresh_project_is_served_and_its_first_admin_comes_in_by_a_link_that_holds_once(project: Path) -> None:
    assert not (project / ".heed-secrets").exists()
    with serving(project) as (process, url):
        assert process.stdout is not None
        link = process.stdout.readline().split()[-1]
        assert stat.S_IMODE((project / ".heed-secrets").stat().st_mode) == 0o600
        with httpx.Client(base_url=url, headers={"origin": url}) as browser:
            assert browser.get("/board").status_code == 303
            assert browser.get(link).status_code == 200
            taken = browser.post(link, data={"name": "Ada", "password": PASSWORD})
            assert taken.status_code == 303, taken.text
            assert browser.get("/board").status_code == 200
        assert httpx.get(link).status_code == 404
        assert "ended" in end(process)
    with serving(project) as (process, _):
        rest = end(process, signal.SIGTERM)
        assert "admin" not in rest
    shown = heed(project, "audit", "list", "--json")
    actions = [entry["action"] for entry in json.loads(shown.stdout)]
    assert actions == ["invitation.first", "account.make"]


def test_a_database_that_others_can_read_is_told_once_and_its_mode_left_alone(project: Path) -> None:
    project.chmod(0o755)
    (project / "heed.db").chmod(0o644)
    with serving(project) as (process, _):
        told = "".join(SAID_BEFORE)
        assert "warning" not in end(process)
    assert told.count("warning:") == 1
    assert f"can read heed.db (mode 0644). To close the folder to them: chmod 700 {project}" in told
    assert stat.S_IMODE((project / "heed.db").stat().st_mode) == 0o644
    for path, mode in ((project, 0o700), (project / "heed.db", 0o600)):
        path.chmod(mode)
        with serving(project) as (process, _):
            assert SAID_BEFORE == []
            end(process)
        project.chmod(0o755)


def test_heads_that_never_end_do_not_lock_everybody_out(project: Path) -> None:
    with serving(project) as (process, url):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == (
            min(before[1], 65_536) if before[1] > 0 else 65_536
        )
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        host, port = url.removeprefix("http://").split(":")
        with ExitStack() as many:
            for _ in range(700):
                half = many.enter_context(socket.create_connection((host, int(port)), timeout=30))
                half.sendall(b"GET / HTTP/1.1\r\nX: ")
            assert httpx.get(f"{url}/sign-in").status_code == 503
        answers = (httpx.get(f"{url}/sign-in").status_code for _ in range(100))
        assert 200 in answers
        end(process)  # and nothing stands in the log


def fenced(document: str, heading: str) -> list[str]:
    """The commands of a section of a document."""
    section = (Path(__file__).parents[2] / "docs" / document).read_text("utf-8").split(f"## {heading}\n")[1]
    return re.findall(r"^\$ (.*)$", section.split("\n## ")[0], re.MULTILINE)


def test_the_backup_of_the_documents_brings_back_all_that_was_there(tmp_path: Path) -> None:
    live, copy, restored = tmp_path / "srv", tmp_path / "kept", tmp_path / "new"
    assert heed(tmp_path, "init", "srv", "--studio").returncode == 0
    with Project(live) as opened:
        token, question = opened.store.write(lead_and_question)
    headers = {"authorization": f"Bearer {token}"}
    commands = fenced("server.md", "Backup and restore")
    saving, restoring = commands[:3], commands[3:6]
    assert {command.split()[0] for command in [*saving, *restoring]} == {"mkdir", "python", "tar", "cp"}

    def run(command: str, folder: Path) -> None:
        command = command.replace("/backup", str(copy)).replace("/srv/heed/new", str(restored))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, env={"PATH": path})
        assert done.returncode == 0, f"{command}\n{done.stderr}"

    with serving(live) as (process, url):
        rows = [{"prompt": f"p{k}", "completions": ["x", "y"], "id": k} for k in range(50)]
        added = httpx.post(f"{url}/api/v1/questions/{question}/items", json={"items": rows}, headers=headers)
        assert added.json()["added"] == 50
        (live / "media").mkdir(exist_ok=True)
        (live / "media" / "kept").write_text("a picture")
        for command in saving:  # while it is served, with what was written last still in the -wal file
            run(command, live)
        late = {"items": [{"prompt": "late", "completions": ["x", "y"]}]}
        assert httpx.post(f"{url}/api/v1/questions/{question}/items", json=late, headers=headers).status_code == 200
        end(process)
    for command in restoring:
        run(command, tmp_path)
    assert stat.S_IMODE((restored / ".heed-secrets").stat().st_mode) == 0o600
    assert (restored / "media" / "kept").read_text() == "a picture"
    with serving(restored) as (process, url):
        assert httpx.get(f"{url}/api/v1/board/overview", headers=headers).status_code == 200
        end(process)
    with closing(sqlite3.connect(restored / "heed.db")) as database:
        assert database.execute("SELECT count(*) FROM items").fetchone() == (50,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    verified = heed(restored, "audit", "verify")
    assert verified.returncode == 0, verified.stdout


def test_the_trial_has_something_on_every_screen_and_leaves_nothing(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with serving(tmp_path, "--try", TMPDIR=str(room)) as (process, url):
        assert process.stdout is not None
        links = {}
        for _ in range(3):
            who, _, link = process.stdout.readline().partition(": ")
            links[who.split()[2].strip("()")] = link.strip()
        assert list(links) == ["rater", "lead", "admin"]
        for who, pages in (
            ("rater", ("/work", "/guidelines", "/me", "/settings")),
            (
                "lead",
                ("/board", "/board/people", "/board/items", "/board/gold", "/board/disagreements", "/board/flags"),
            ),
            ("admin", ("/board/questions", "/board/guidelines", "/board/audit", "/board/exchange")),
        ):
            with httpx.Client(base_url=url) as browser:
                assert browser.get(links[who]).status_code == 303
                for page in pages:
                    answer = browser.get(page, follow_redirects=True)
                    assert answer.status_code == 200, f"{page}: {answer.text}"
        assert httpx.get(links["admin"].replace("/admin", "/nobody")).status_code == 404
        assert httpx.get(f"{url}/try/x/admin").status_code == 404
        assert httpx.get(f"{url}/board").headers["location"].startswith("/sign-in")
        assert list(room.iterdir())
        assert "is gone" in end(process)
    assert list(room.iterdir()) == []
    assert not (tmp_path / "heed.yaml").exists()


def test_a_port_that_is_taken_is_named_with_another(project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = heed(project, "serve", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_processes_than_one_need_postgresql(project: Path) -> None:
    done = heed(project, "serve", "--port", "0", "--workers", "2")
    assert done.returncode == 2
    assert "PostgreSQL" in done.stderr


def test_outside_a_project_it_says_so(tmp_path: Path) -> None:
    done = heed(tmp_path, "serve")
    assert done.returncode == 2
    assert "heed.yaml" in done.stderr


@pytest.mark.parametrize(
    ("host", "options", "settings", "known", "unknown"),
    [
        ("127.0.0.1", {}, {}, "127.0.0.1:8000", "evil.example"),
        ("localhost", {}, {"public_url": "https://f.example"}, "f.example", "f.example.evil.example"),
        ("::1", {"public_url": "https://f.example"}, {}, "f.example", "g.example"),
        ("0.0.0.0", {"public_url": "https://f.example"}, {}, "f.example", "10.0.0.1"),
        ("10.1.2.3", {"insecure_http": True}, {}, "10.1.2.3:8000", "10.1.2.4:8000"),
        ("0.0.0.0", {"insecure_http": True}, {"hosts": ["box.local"]}, "box.local:8000", "10.1.2.4:8000"),
    ],
)
def test_it_answers_to_the_names_that_are_its_own(
    host: str, options: dict[str, Any], settings: dict[str, Any], known: str, unknown: str
) -> None:
    address = address_of(Serving(host, **options), ServeSettings(**settings))
    assert address.knows(known)
    assert not address.knows(unknown)


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("0.0.0.0", {}),
        ("::", {}),
        ("192.168.1.5", {}),
        ("box.example", {}),
        ("192.168.1.5", {"public_url": "http://box.example"}),
        ("0.0.0.0", {"insecure_http": True}),
        ("127.0.0.1", {"public_url": "https://box.example/path"}),
        ("127.0.0.1", {"public_url": "javascript:alert(1)"}),
    ],
)
def test_it_does_not_listen_where_others_could_read_along(host: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        address_of(Serving(host, **options), ServeSettings())


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="address of this machine"):
        listen("192.0.2.7", 0)


def test_an_invitation_can_be_printed_and_opens_once_it_is_served(project: Path) -> None:
    done = heed(project, "invite", "--role", "rater", "--group", "north", "--name", "Mira")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/invitation/[\w-]{40,}\n", done.stdout)
    with serving(project) as (process, url):
        page = httpx.get(url + done.stdout.strip().removeprefix("http://127.0.0.1:8000"))
        assert page.status_code == 200
        assert "Mira" in page.text
        end(process)


def test_the_audit_log_is_verified_and_what_was_changed_is_found(project: Path) -> None:
    for name in ("ann", "bob"):
        heed(project, "invite", "--name", name)
    whole = heed(project, "audit", "verify")
    assert whole.returncode == 0
    assert "2 entries" in whole.stdout
    listed = heed(project, "audit", "list").stdout.splitlines()
    assert [line.split()[4] for line in listed] == ["invitation.make", "invitation.make"]
    with closing(sqlite3.connect(project / "heed.db")) as database:
        database.execute("DROP TRIGGER IF EXISTS audit_no_update")
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute("UPDATE audit SET subject = 'eve' WHERE number = 1")
        database.execute("UPDATE audit SET details = 'not json', created = 'garbage' WHERE number = 2")
        database.commit()
    for _ in range(2):
        changed = heed(project, "audit", "verify")
        assert changed.returncode == 1
        assert "entry 1: its content is not what was recorded\nentry 2: its content is not" in changed.stdout
        assert "no longer refuses to change entries" in changed.stdout
    listed = heed(project, "audit", "list").stdout.splitlines()
    assert "unreadable" not in listed[0]
    assert "(unreadable: " in listed[1]
    assert [one["readable"] for one in json.loads(heed(project, "audit", "list", "--json").stdout)] == [True, False]


def test_a_missing_head_of_the_log_is_told_until_somebody_accepts_the_present_end(project: Path) -> None:
    project.chmod(0o700)
    with serving(project) as (process, _):
        end(process)
    assert heed(project, "audit", "verify").returncode == 0
    (project / ".heed-audit-head").unlink()
    assert [heed(project, "audit", "verify").returncode for _ in range(2)] == [1, 1]
    with serving(project) as (process, _):
        assert ["heed audit verify" in line for line in SAID_BEFORE] == [True]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    missing = heed(project, "audit", "verify")
    assert missing.returncode == 1
    assert ".heed-audit-head is gone" in missing.stdout
    assert "heed audit verify --accept" in missing.stderr
    accepted = heed(project, "audit", "verify", "--accept")
    assert accepted.returncode == 0, accepted.stdout
    assert heed(project, "audit", "verify").returncode == 0
    newest = json.loads(heed(project, "audit", "list", "--json").stdout)[-1]
    assert (newest["action"], newest["details"]["noted"]) == ("audit.accept", None)
    with serving(project) as (process, _):
        assert SAID_BEFORE == []
        end(process)


@pytest.mark.slow
def test_an_import_goes_on_after_the_server_was_killed_and_no_row_is_lost_or_twice(project: Path) -> None:
    with Project(project) as opened:
        token, question = opened.store.write(lead_and_question)
    rows = [json.dumps({"prompt": f"p{k}", "completions": ["x", "y"]}) for k in range(6000)]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
    with serving(project) as (process, url):
        query = {"kind": "items", "question_id": question}
        job = httpx.post(f"{url}/api/v1/imports", params=query, content="\n".join(rows), headers=headers).json()["id"]
        while not httpx.get(f"{url}/api/v1/jobs/{job}", headers=headers).json()["done"]:
            pass
        os.killpg(process.pid, signal.SIGKILL)
    with serving(project) as (process, url):
        for _ in range(600):
            found = httpx.get(f"{url}/api/v1/jobs/{job}", headers=headers).json()
            if found["state"] in ("done", "failed"):
                break
            time.sleep(0.1)
        end(process)
    assert (found["state"], found["done"]) == ("done", 6000)
    assert (found["report"]["added"], found["report"]["duplicates"]) == (6000, 0)
    with closing(sqlite3.connect(project / "heed.db")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT prompt_id) FROM items").fetchone() == (6000, 6000)


def test_a_small_file_that_unpacks_to_line_ends_without_end_holds_nothing_up(project: Path) -> None:
    with Project(project) as opened:
        token, question = opened.store.write(lead_and_question)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
    nothing = b"\n" * (256 << 20)
    with serving(project) as (process, url):
        with httpx.Client(base_url=url, headers=headers, timeout=60) as lead:
            query = {"kind": "items", "question_id": question}
            refused = lead.post("/api/v1/imports", params=query, content=gzip.compress(nothing, 1))
            assert refused.status_code == 422
            assert "blank lines" in refused.json()["error"]["why"]
            row = b'{"prompt": "p", "completions": ["x", "y"]}'
            begun = lead.post("/api/v1/imports", params=query, content=gzip.compress(row + nothing, 1))
            for _ in range(600):
                job = lead.get(f"/api/v1/jobs/{begun.json()['id']}").json()
                if job["state"] == "failed":
                    break
                time.sleep(0.1)
        end(process)
    assert (job["state"], job["report"]["added"]) == ("failed", 1)
    assert "blank lines" in job["error"]


def lead_and_question(connection: Any) -> tuple[str, str]:
    now = datetime.now(UTC)
    lead = accounts.create_account(connection, "lea", "lead", "", now)
    token = tokens.make(connection, lead, "t", ["read", "manage"], 1, now).secret
    return token, asked.create_question(connection, "Which?", default_form(), "lea", now).id


@pytest.mark.slow
def test_several_processes_serve_one_project_and_one_that_is_killed_comes_back(tmp_path: Path, postgresql: Any) -> None:
    settings = ProjectSettings(name="p", model="nobody/none", database=postgresql.fresh())
    Project.create(tmp_path / "p", settings).close()
    with serving(tmp_path / "p", "--workers", "2") as (process, url):
        assert httpx.get(f"{url}/sign-in").status_code == 200
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        servers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(servers) == 2
        os.kill(int(servers[0]), signal.SIGKILL)
        for _ in range(10):
            assert httpx.get(f"{url}/sign-in").status_code == 200
        end(process, signal.SIGTERM)
