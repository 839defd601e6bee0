"""The command line as real processes: exit codes, errors, feedback in and out, runs, traces, the doctor."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from heed.config import ProjectSettings, load_settings
from heed.feedback import answers, asked, items, queue
from heed.feedback.forms import default_form
from heed.feedback.item_files import parse_item
from heed.feedback.schema import HEAD
from heed.feedback.showings import Rater
from heed.people import accounts, exclusions
from heed.project import Cost, Project
from heed.terminal import doctor
from tiny_project import completed as heed

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    Project.create(tmp_path / "p", ProjectSettings(name="p", model="nobody/none")).close()
    return tmp_path / "p"


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def comparison(number: int, rater: str = "ann") -> dict[str, object]:
    return {
        "kind": "comparison",
        "rater": rater,
        "prompt": f"question {number}",
        "completions": [f"a{number}", f"b{number}"],
        "choice": "a",
        "created": "2026-01-31T12:00:00Z",
    }


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    shown = heed(tmp_path, "--help")
    assert shown.returncode == 0
    commands = [
        "init",
        "sample",
        "ask",
        "train",
        "score",
        "evaluate",
        "report",
        "loop",
        "runs",
        "trace",
        "chat",
        "doctor",
        "feedback",
    ]
    assert all(f" {command} " in shown.stdout for command in commands)
    code = "import sys, heed.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "sqlalchemy", "pydantic", "plotly", "numpy", "yaml"} & set(loaded)


def test_an_error_says_what_why_and_the_way_out(tmp_path: Path) -> None:
    done = heed(tmp_path, "runs")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "why", "fix"]
    assert done.stdout == ""
    assert "Traceback" in heed(tmp_path, "runs", HEED_DEBUG="1").stderr


def test_init_copies_what_it_has_checked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    prompts = lines(
        tmp_path / "in.jsonl", {"prompt": "one"}, "{broken\n", {"prompt": "two", "split": "test"}, {"prompt": " "}
    )
    shown = lines(tmp_path / "shown.jsonl", {"prompt": "one", "completion": "1"})
    done = heed(
        tmp_path, "init", "mine", "--model", "model", "--prompts", "in.jsonl", "--demonstrations", "shown.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert "2 prompts (2 broken lines left out), 1 of them for testing; 1 demonstration" in done.stdout
    assert "in.jsonl, line 2:" in done.stderr
    assert "in.jsonl, line 4:" in done.stderr
    settings = load_settings(tmp_path / "mine" / "heed.yaml")
    assert settings.model == str((tmp_path / "model").resolve())
    assert (tmp_path / "mine" / settings.prompts).read_bytes() == prompts.read_bytes()
    assert (tmp_path / "mine" / settings.demonstrations).read_bytes() == shown.read_bytes()
    # Once more it is in the way, and nothing in it changes.
    again = heed(tmp_path, "init", "mine", "--model", "model", "--prompts", "in.jsonl")
    assert again.returncode == 2
    assert "it is a heed project already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--prompts", "in.jsonl"], "without --model"),
        (["--model", "./gone", "--prompts", "in.jsonl"], "no model at ./gone"),
        (["--model", "empty", "--prompts", "in.jsonl"], "no config.json"),
        (["--model", "some/hub-id", "--prompts", "gone.jsonl"], "cannot read gone.jsonl"),
        (["--model", "some/hub-id", "--prompts", "none.jsonl"], "none.jsonl has no prompt"),
        (["--sandbox", "--prompts", "in.jsonl"], "brings its own"),
    ],
)
def test_a_failed_init_leaves_nothing_behind(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    lines(tmp_path / "in.jsonl", {"prompt": "one"})
    lines(tmp_path / "none.jsonl", "nothing\n")
    done = heed(tmp_path, "init", "mine", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "mine").exists()


def test_a_wrong_setting_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    lines(tmp_path / "c.yaml", "learning_rte: 0.1\n")
    files = ["--model", "m", "--data", "d", "--out", "o"]
    typo = heed(tmp_path, "train", "reward", *files, "--set", "learning_rte=1e-4")
    assert typo.returncode == 2
    assert "Did you mean 'learning_rate'?" in typo.stderr
    assert "c.yaml" in heed(tmp_path, "train", "reward", *files, "--config", "c.yaml").stderr
    shapeless = heed(tmp_path, "train", "reward", *files, "--set", "learning_rate")
    assert "KEY=VALUE" in shapeless.stderr


def test_half_of_the_files_is_an_error_that_names_the_rest(tmp_path: Path) -> None:
    done = heed(tmp_path, "train", "policy", "--model", "m", "--out", "o")
    assert done.returncode == 2
    assert "heed train policy with --model and --out" in done.stderr
    assert "needs --reward and --prompts" in done.stderr
    alone = heed(tmp_path, "evaluate", "--utility", "vader")
    assert "heed evaluate with --utility" in alone.stderr


def test_import_takes_the_good_rows_once(project: Path) -> None:
    orphan = comparison(9) | {"supersedes": "f0000000000000000"}
    file = lines(
        project / "in.jsonl", comparison(1), "{cut off\n", comparison(2) | {"colour": "red"}, orphan, comparison(1)
    )
    first = heed(project, "feedback", "import", str(file))
    assert first.returncode == 1
    assert first.stdout == "1 judgment imported, 1 were there already, 3 broken\n"
    for line, reason in ((2, "JSON"), (3, "colour"), (4, "f0000000000000000")):
        (told,) = (text for text in first.stderr.splitlines() if f"line {line}:" in text)
        assert reason in told
    good = lines(project / "good.jsonl", comparison(1), comparison(3))
    second = heed(project, "feedback", "import", str(good))
    assert (second.returncode, second.stdout) == (0, "1 judgment imported, 1 were there already\n")


def test_more_broken_rows_than_anyone_reads_are_counted(project: Path) -> None:
    file = lines(project / "in.jsonl", comparison(1), *["{\n"] * 25)
    done = heed(project, "feedback", "import", str(file))
    assert len([line for line in done.stderr.splitlines() if ", line " in line]) == 20
    assert "5 more broken rows" in done.stderr


def test_export_and_import_lose_nothing(project: Path, tmp_path: Path) -> None:
    given = [comparison(number, rater) for number in range(3) for rater in ("ann", "bob")]
    heed(project, "feedback", "import", str(lines(project / "in.jsonl", *given)))
    with Project.open(project) as opened:
        first = opened.store.feedback()[0]
        corrected = first.feedback.model_copy(update={"supersedes": first.id, "choice": "tie"})
        opened.store.add_feedback([corrected])
    assert heed(project, "feedback", "export", "all.jsonl.gz").stdout == "7 judgments in all.jsonl.gz\n"
    assert heed(project, "feedback", "export", "now.csv").stdout == "6 judgments in now.csv\n"
    Project.create(tmp_path / "q", ProjectSettings(name="q", model="nobody/none")).close()
    done = heed(tmp_path / "q", "feedback", "import", str(project / "all.jsonl.gz"))
    assert (done.returncode, done.stdout) == (0, "7 judgments imported\n")
    with Project.open(project) as one, Project.open(tmp_path / "q") as other:
        assert one.store.feedback(include_superseded=True) == other.store.feedback(include_superseded=True)
        assert one.store.feedback() == other.store.feedback()
        assert {c.text for c in one.store.completions()} == {c.text for c in other.store.completions()}


@pytest.mark.slow
def test_exports_say_what_became_of_people_excluded_from_training(project: Path) -> None:
    given = [comparison(number, rater) for number in range(3) for rater in ("ann", "bob")]
    heed(project, "feedback", "import", str(lines(project / "in.jsonl", *given)))
    with Project.open(project) as opened:
        now = datetime(2026, 3, 1, tzinfo=UTC)
        opened.store.write(lambda connection: exclusions.exclude(connection, "ann", "in a hurry", "lead", now))
    for arguments, count, words in (
        (["a.jsonl"], 6, "3 of them are of people excluded from training"),
        (["b.jsonl", "--excluded", "leave"], 3, "left out 3 judgments: of people excluded from training"),
        (["c.csv"], 3, "left out 3 judgments: of people excluded from training"),
        (["d.csv", "--excluded", "keep"], 6, "3 of them are of people excluded from training"),
        (["e.jsonl", "--format", "trl"], 3, "left out 3 judgments: of people excluded from training"),
    ):
        done = heed(project, "feedback", "export", *arguments)
        assert done.stdout == f"{count} judgments in {arguments[0]}\n"
        assert words in done.stderr


def answer(connection: Connection, question: str, count: int) -> str:
    """Ask ``question`` about ``count`` items in the studio and let ann answer them; its id."""
    rng = random.Random(question)
    asked_now = asked.create_question(connection, question, default_form(), "lea", NOW)
    rows = [parse_item({"prompt": f"{question} {n}", "completions": [f"one {n}", f"two {n}"]}) for n in range(count)]
    items.add_items(connection, asked_now.id, rows, NOW, rng)
    for _ in range(count):
        claimed = queue.claim(connection, Rater("ann"), asked_now.id, NOW, rng)
        assert isinstance(claimed, queue.Claimed)
        wire = {"better": {"choice": "left", "strength": 1}}
        answers.answer(connection, Rater("ann"), claimed.showings[0].id, wire, None, 3.0, 2.0, "", NOW)
    return asked_now.id


def test_an_export_of_one_question_has_what_was_answered_to_it_alone(project: Path) -> None:
    heed(project, "feedback", "import", str(lines(project / "in.jsonl", comparison(9, "bob"))))
    with Project.open(project) as opened:
        opened.store.write(lambda connection: accounts.create_account(connection, "ann", "rater", "", NOW))
        tone = opened.store.write(lambda connection: answer(connection, "Tone", 2))
        opened.store.write(lambda connection: answer(connection, "Facts", 3))
    assert heed(project, "feedback", "export", "all.jsonl").stdout == "6 judgments in all.jsonl\n"
    done = heed(project, "feedback", "export", "tone.jsonl", "--question", "Tone")
    assert done.stdout == "2 judgments in tone.jsonl\n"
    rows = [json.loads(line) for line in (project / "tone.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["source"] for row in rows} == {tone}
    assert (
        heed(project, "feedback", "export", "facts.csv", "--question", "Facts").stdout == "3 judgments in facts.csv\n"
    )


def test_an_export_of_a_question_that_is_not_there_says_which_are(project: Path) -> None:
    none = heed(project, "feedback", "export", "out.jsonl", "--question", "Tone")
    assert (none.returncode, none.stdout) == (2, "")
    assert "question 'Tone'" in none.stderr
    assert "Leave --question out: feedback from files belongs to none." in none.stderr
    with Project.open(project) as opened:
        opened.store.write(lambda connection: asked.create_question(connection, "Facts", default_form(), "lea", NOW))
    some = heed(project, "feedback", "export", "out.jsonl", "--question", "tone")
    assert some.returncode == 2
    assert "Choose one of 'Facts'." in some.stderr
    assert not (project / "out.jsonl").exists()


def test_an_id_that_belongs_to_another_text_is_refused(project: Path) -> None:
    ids = ["c0000000000000001", "c0000000000000002"]
    row = comparison(1) | {"completion_ids": ids}
    other = row | {"completions": ["another text", "b1"], "rater": "bob"}
    done = heed(project, "feedback", "import", str(lines(project / "in.jsonl", row, other)))
    assert (done.returncode, done.stdout) == (1, "1 judgment imported, 1 broken\n")
    assert "this id belongs to another text" in done.stderr


def test_what_a_format_cannot_hold_is_told(project: Path) -> None:
    rows = [comparison(1), comparison(2) | {"choice": "tie"}]
    heed(project, "feedback", "import", str(lines(project / "in.jsonl", *rows)))
    done = heed(project, "feedback", "export", "out.jsonl", "--format", "trl")
    assert done.stdout == "1 judgment in out.jsonl\n"
    assert "left out 1 judgment" in done.stderr
    assert "rater (1)" in done.stderr


def test_runs_and_traces_show_text_as_text(project: Path) -> None:
    with Project.open(project) as opened:
        with opened.begin_run("sample", {}, seed=1) as run:
            run.finish({"completions": 1200, "prompts": 600}, Cost(tokens=64_000, seconds=75))
        with opened.begin_run("reward", {}, seed=1, parents=["sample-1"], round=2) as failed:
            failed.fail("[bold]loss[/bold] is not a number \x1b[2J", Cost(labels=7))
    table = heed(project, "runs").stdout
    assert "1,200 completions of 600 prompts" in table
    assert "1 min 15 s" in table
    assert "[bold]loss[/bold] is not a number ␛[2J" in table
    assert "\x1b" not in table
    found = json.loads(heed(project, "runs", "--json").stdout)
    assert [(run["id"], run["state"], run["labels"], run["parents"]) for run in found] == [
        ("sample-1", "done", 0, []),
        ("reward-1", "failed", 7, ["sample-1"]),
    ]
    trace = heed(project, "trace", "reward-1").stdout.splitlines()
    assert trace[0] == "run reward-1: failed · round 2 · from sample-1"
    assert trace[2] == "  run sample-1: done"
    assert json.loads(heed(project, "trace", "sample-1", "--json").stdout)["results"][0]["id"] == "reward-1"
    assert heed(project, "trace", "nobody").returncode == 2


def test_the_doctor_finds_what_is_wrong_and_changes_nothing(project: Path) -> None:
    def checks() -> tuple[int, dict[str, dict[str, str]]]:
        done = heed(project, "doctor", "--json")
        return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}

    lines(project / "prompts.jsonl", {"prompt": "one"})
    code, well = checks()
    assert well["database"] == {"name": "database", "state": "ok", "detail": f"sqlite, schema {HEAD}", "fix": ""}
    assert well["Python"]["detail"].startswith(".".join(map(str, sys.version_info[:3])))
    assert "GFLOP/s" in well["matrix products"]["detail"]
    assert "new projects here train with dtype" in well["training"]["detail"]
    assert well["lock"]["detail"] == "free"
    assert code == any(check["state"] == "problem" for check in well.values())
    with Project.open(project) as opened, opened.lock():
        assert f"held by process {os.getpid()}" in checks()[1]["lock"]["detail"]

    with closing(sqlite3.connect(project / "heed.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    (project / "prompts.jsonl").unlink()
    before = (project / "heed.db").read_bytes()
    code, ill = checks()
    assert code == 1
    assert ill["database"]["state"] == "problem"
    assert ill["database"]["fix"] == "pip install -U heed"
    assert ill["prompts"]["state"] == "problem"
    assert (project / "heed.db").read_bytes() == before


def trained(project: Path, stage: str, round_: int = 0) -> Path:
    """A run that has kept a model; where that lies."""
    with Project.open(project) as opened:
        with opened.begin_run(stage, {}, seed=1, round=round_) as run:
            (run.folder / "model").mkdir()
            (run.folder / "model" / "weights").write_text(stage * 1000)
            run.finish({}, Cost(), {"model": Path("model")})
        return opened.artifact("model", run.id) / "weights"


def test_the_doctor_reads_the_artifacts_and_says_which_run_to_do_again(project: Path) -> None:
    assert [check.state for check in doctor._artifacts(project)] == ["ok"]
    kept = {stage: trained(project, stage, 2 * (stage == "policy")) for stage in ("sft", "reward", "policy")}
    assert [check.state for check in doctor._artifacts(project)] == ["ok"]
    kept["policy"].write_text("zeros")
    kept["sft"].unlink()
    done = heed(project, "doctor", "--json")
    assert done.returncode == 1
    policy, sft = (check for check in json.loads(done.stdout) if check["name"].startswith("artifact"))
    assert (policy["name"], sft["name"]) == ("artifact 'model' of policy-1", "artifact 'model' of sft-1")
    assert policy["detail"].startswith("its content has changed: ")
    assert "heed train policy --round 2 --fresh" in policy["fix"]
    assert "heed train sft --fresh" in sft["fix"]


def test_the_doctor_misses_a_database(project: Path) -> None:
    (project / "heed.db").unlink()
    (check,) = (check for check in doctor._project(project) if check.name == "database")
    assert check.state == "problem"
    assert ".heed-database" in check.detail
    assert "copy" in check.fix
    assert not (project / "heed.db").exists()


def test_reading_artifacts_for_long_shows_how_far_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained(project, "sft")
    with Project.open(project) as opened, opened.begin_run("big", {}, 0) as run:
        (run.folder / "model").write_bytes(bytes(5 << 20))
        run.finish({}, Cost(), {"model": Path("model")})
    assert [check.state for check in doctor._artifacts(project)] == ["ok"]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(doctor, "_QUIET_SECONDS", -1)
    weights.unlink()
    (check,) = doctor._artifacts(project)
    assert "sft-1" in check.name
    assert "5/5  MiB of artifacts read" in capsys.readouterr().err


def test_a_broken_pipe_is_no_traceback(project: Path) -> None:
    with Project.open(project) as opened:
        for number in range(50):
            with opened.begin_run("sample", {"n": number}, seed=1) as run:
                run.finish({}, Cost())
    command = f"{sys.executable} -c 'from heed.cli import main; main()' runs --json | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=project, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[\n"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_project_to_collect_feedback_in_needs_no_model_until_one_is_trained(tmp_path: Path) -> None:
    made = heed(tmp_path, "init", "ours", "--studio")
    assert made.returncode == 0, made.stderr
    assert "no model has been chosen yet" in made.stdout
    assert "heed serve" in made.stdout
    folder = tmp_path / "ours"
    lines(tmp_path / "in.jsonl", *(comparison(number) for number in range(3)))
    assert heed(folder, "feedback", "import", "../in.jsonl").stdout.startswith("3 judgments imported")
    assert heed(folder, "feedback", "export", "out.jsonl").returncode == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == 3
    for command in (["sample"], ["loop"], ["chat"], ["train", "reward"]):
        done = heed(folder, *command)
        assert done.returncode == 2, command
        assert "no model has been chosen" in done.stderr, (command, done.stderr)
        assert "Set 'model' in heed.yaml" in done.stderr
        assert "Traceback" not in done.stderr
    assert heed(folder, "runs").returncode == 0
    checks = {check["name"]: check["state"] for check in json.loads(heed(folder, "doctor", "--json").stdout)}
    assert (checks["base model"], checks["prompts"]) == ("missing", "missing")


@pytest.mark.parametrize("more", [["--model", "m"], ["--prompts", "p"], ["--sandbox"]])
def test_a_project_without_a_model_is_given_none(tmp_path: Path, more: list[str]) -> None:
    done = heed(tmp_path, "init", "ours", "--studio", *more)
    assert done.returncode == 2
    assert "Leave --studio out" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_a_command_has_begun_ends_quietly() -> None:
    """The signal comes while the options of the commands are read, where typer compiles their annotations."""
    script = (
        "import signal, sys; from heed.cli import main; sys.argv = ['heed', 'explain']; "
        "sys.addaudithook(lambda event, _: signal.raise_signal(signal.SIGINT) if event == 'compile' else None); main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
