"""What bad input gets, through the command line: exit code 2, the value, the reason and the way out, and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from heed.project import Project
from tiny_models import causal_model, letter_tokenizer, tiny_policy
from tiny_project import begin, command_line, letters, make_project, start, write_lines

PAIRS = [{"prompt": letters(n, 3), "chosen": letters(n, 4) + "a", "rejected": letters(n, 4)} for n in range(30)]
SHOWN = [{"prompt": letters(n, 3), "completion": letters(5 * n, 4)} for n in range(12)]


class Told(NamedTuple):
    """What a command ended with: its exit code, everything it wrote, and the error's three parts where there is one."""

    code: int
    text: str
    what: str
    why: str
    fix: str


def ended(process: Any, log: Path) -> Told:
    process.join(120)
    text = log.read_text(encoding="utf-8")
    log.unlink()
    parts = {line[:6].strip(): line[7:] for line in text.splitlines() if line.startswith(("error:", "why:", "fix:"))}
    return Told(process.exitcode, text, parts.get("error:", ""), parts.get("why:", ""), parts.get("fix:", ""))


def heed(folder: Path, *arguments: str) -> Told:
    log = folder.parent / "log"
    return ended(begin(folder, log, *arguments), log)


def refused(folder: Path, *arguments: str) -> Told:
    """The command, which must fail as an error of the user does."""
    told = heed(folder, *arguments)
    assert told.code == 2, told.text
    assert "Traceback" not in told.text
    assert told.what, told.text
    assert told.why, told.text
    assert told.fix, told.text
    return told


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def setting(project: Path, old: str, new: str) -> None:
    text = (project / "heed.yaml").read_text()
    assert old in text
    (project / "heed.yaml").write_text(text.replace(old, new, 1))


# Models


def spoil_tokenizer(model: Path, fault: str) -> None:
    if fault == "missing":
        for file in model.glob("*token*"):
            file.unlink()
    elif fault == "too large":
        letter_tokenizer("abcdefghijklmnopqrstuvwxyz").save_pretrained(model)
    else:
        tokenizer = letter_tokenizer()
        tokenizer.eos_token = None
        tokenizer.save_pretrained(model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))


@pytest.mark.parametrize(
    ("fault", "what", "fix"),
    [
        ("missing", "has no tokenizer", "save_pretrained"),
        ("too large", "does not fit its model", "resize_token_embeddings"),
        ("endless", "has no end-of-text token", "eos_token"),
    ],
)
def test_a_model_whose_tokenizer_will_not_do(project: Path, fault: str, what: str, fix: str) -> None:
    model = project.parent / "model"
    spoil_tokenizer(model, fault)
    write_lines(project.parent / "pairs.jsonl", PAIRS)
    for arguments in (["loop"], reward_on_files(project)):
        told = refused(project, *arguments)
        assert what in told.what
        assert str(model) in told.what
        assert fix in told.fix
    with Project.open(project) as opened:
        assert not opened.store.completions()
    shutil.rmtree(model)
    tiny_policy().save(model)
    assert heed(project, "sample").code == 0


def reward_on_files(project: Path, *more: str) -> list[str]:
    files = {"model": project.parent / "model", "data": project.parent / "pairs.jsonl", "out": project.parent / "out"}
    return ["train", "reward", *(part for name, path in files.items() for part in (f"--{name}", str(path))), *more]


def test_a_model_that_is_not_there_and_one_cut_off(project: Path) -> None:
    weights = project.parent / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "cannot load the model" in refused(project, "loop").what
    shutil.rmtree(project.parent / "model")
    assert "no model at" in refused(project, "loop").what


# Prompts, demonstrations, comparisons


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_prompt_longer_than_the_context_is_refused_before_anything_is_trained(project: Path, split: str) -> None:
    prompts = project / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "a" * 95, "split": split}) + "\n" + prompts.read_text())
    told = refused(project, "loop")
    assert "95 tokens" in told.what
    assert "context of 96" in told.why
    assert "max_new_tokens" in told.fix
    with Project.open(project) as opened:
        assert not opened.runs()


def test_broken_lines_are_named_and_the_good_ones_go_in(project: Path) -> None:
    good = (project / "prompts.jsonl").read_bytes()
    bad = [
        b'{"prompt": "caf\xe9"}',
        b'{"prompt": "cut o',
        b'{"prompt": "  "}',
        b'{"text": "x"}',
        b'{"prompt": 5}',
        b"[]",
    ]
    (project / "prompts.jsonl").write_bytes(good + b"\n".join(bad) + b"\n")
    told = heed(project, "sample")
    assert told.code == 0, told.text
    first = len(good.splitlines()) + 1
    for number in range(first, first + 5):
        assert f"prompts.jsonl, line {number}: " in told.text
    assert "1 more broken line" in told.text
    with Project.open(project) as opened:
        assert len(opened.store.prompts()) == first - 1


def test_a_file_without_one_good_prompt(project: Path) -> None:
    for content, reason in ((b"", "empty"), (b'{"prompt": ""}\n', "line 1"), (b"\xff\xfd", "line 1")):
        (project / "prompts.jsonl").write_bytes(content)
        told = refused(project, "loop")
        assert "prompts.jsonl has no prompt" in told.what
        assert reason in told.why
    (project / "prompts.jsonl").unlink()
    assert "prompts.jsonl" in refused(project, "loop").what


def test_the_same_prompt_in_both_splits_is_named(project: Path) -> None:
    write_lines(project / "prompts.jsonl", [{"prompt": "abc", "split": "train"}, {"prompt": "abc", "split": "test"}])
    told = heed(project, "sample")
    assert "line 2: the same prompt stands in the file with another split" in told.text


def test_demonstrations_cut_off_and_too_long_are_counted(project: Path) -> None:
    write_lines(project / "demonstrations.jsonl", [*SHOWN, '{"prompt": "a', {"prompt": "a", "completion": "b" * 200}])
    told = heed(project, "train", "sft")
    assert told.code == 0, told.text
    assert "demonstrations.jsonl, line 13:" in told.text
    with Project.open(project) as opened:
        assert opened.run("sft-1").metrics["too_long"] == 1
    write_lines(project / "demonstrations.jsonl", [{"prompt": "a", "completion": "b" * 200}])
    told = refused(project, "train", "sft")
    assert "none of 1 demonstrations fits" in told.what
    assert "96" in told.why


def comparison(number: int, choice: str, rater: str = "ann") -> dict[str, Any]:
    texts = [letters(number, 4) + "a", letters(number, 4)]
    return {"kind": "comparison", "rater": rater, "prompt": letters(number, 3), "completions": texts, "choice": choice}


def test_comparisons_that_say_nothing_are_refused(project: Path) -> None:
    pairs = project.parent / "pairs.jsonl"
    write_lines(pairs, [comparison(n, "tie") for n in range(20)])
    told = refused(project, *reward_on_files(project))
    assert "comparisons are ties" in told.what
    assert "heed ask" in told.fix or "Collect" in told.fix
    write_lines(pairs, [{"prompt": letters(n, 3), "chosen": "a" * 200, "rejected": "b"} for n in range(9)])
    told = refused(project, *reward_on_files(project))
    assert "96" in told.why, "the reason is the context, not an empty list"
    write_lines(pairs, PAIRS)
    told = refused(project, *reward_on_files(project, "--set", "test_fraction=1"))
    assert "test_fraction" in told.text
    assert not (project.parent / "out" / "heed.json").exists()


@pytest.mark.parametrize("choices", ["a", "ab"])
def test_one_class_only_and_raters_who_disagree_are_learned_from_and_said(project: Path, choices: str) -> None:
    """The first is always preferred: that is a fair file. Two raters who always disagree: nothing can be learned."""
    rows = [comparison(n, choice, rater=choice) for n in range(40) for choice in choices]
    write_lines(project.parent / "pairs.jsonl", rows)
    told = heed(project, *reward_on_files(project, "--set", "epochs=4", "--set", "test_fraction=0.3"))
    assert told.code == 0, told.text
    card = json.loads((project.parent / "out" / "heed.json").read_text())
    right = card["metrics"]["accuracy"]["clustered"]
    if choices == "ab":
        assert right["estimate"] == pytest.approx(0.5, abs=1e-6)
        assert "not surely better than a coin" in told.text
    else:
        assert right["estimate"] > 0.5


def test_feedback_that_does_not_fit_is_named_and_the_rest_goes_in(project: Path) -> None:
    rating = {"kind": "rating", "rater": "ann", "prompt": "abc", "completions": ["d"], "scores": {"quality": 9}}
    rating |= {"scales": {"quality": {"low": 1, "high": 5}}}
    ids = {"completion_ids": ["c0000000000000001", "c0000000000000002"]}
    unknown = {"kind": "comparison", "rater": "ann", "prompt_id": "p0000000000000001", "choice": "a", **ids}
    other = comparison(1, "a") | {"completions": ["other", "texts"]}
    rows = [comparison(1, "a") | ids, rating, unknown, other | ids, "{", comparison(2, "b")]
    write_lines(project / "in.jsonl", rows)
    told = heed(project, "feedback", "import", "in.jsonl")
    assert told.code == 1
    assert "2 judgments imported, 4 broken" in told.text
    reasons = {n: next(line for line in told.text.splitlines() if f"line {n}:" in line) for n in (2, 3, 4, 5)}
    assert "9" in reasons[2]
    assert "1 to 5" in reasons[2]
    assert "this id belongs to another text" in reasons[4]
    again = heed(project, "feedback", "import", "in.jsonl")
    assert "0 judgments imported, 2 were there already, 4 broken" in again.text


# Settings


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 3", "seed: three", "'seed' is 'three'"),
        ("seed: 3", f"seed: {2**70}", "'seed' is 1180591620717411303424"),
        ("seed: 3", "sede: 3", "Did you mean 'seed'?"),
        ("learning_rate: 0.001", "learning_rate: .inf", "'sft.learning_rate' is inf"),
        ("learning_rate: 0.001", "learning_rate: .nan", "'sft.learning_rate' is nan"),
        ("learning_rate: 0.001", "learning_rate: [1]", "'sft.learning_rate' is [1]"),
        ("max_new_tokens: 6", "max_new_tokens: -1", "'sampling.max_new_tokens' is -1"),
        ("top_p: 1.0", "top_p: 1.5", "'sampling.top_p' is 1.5"),
        ("device: cpu", "device: abacus", "device 'abacus'"),
        ("sampling:", "- sampling:", "is not YAML"),
        ("utility: liking:letter_a", "utility: liking:letter_z", "letter_z"),
        ("simulated:\n    - ", "simulated: []\n  stimulated:\n    - ", "Did you mean 'simulated'?"),
    ],
)
def test_wrong_settings_are_named_before_any_work(project: Path, old: str, new: str, told: str) -> None:
    setting(project, old, new)
    assert told in refused(project, "loop").text
    setting(project, new, old)
    with Project.open(project) as opened:
        assert not opened.runs()


def test_a_seed_on_the_command_line_is_checked_too(project: Path) -> None:
    told = heed(project, "sample", "--seed", str(2**70))
    assert told.code == 2
    assert "Traceback" not in told.text


def test_raters_are_looked_at_before_any_work(project: Path) -> None:
    text = (project / "heed.yaml").read_text()
    start, end = text.index("  simulated:\n"), text.index("  # simulated raters that only judge")
    (project / "heed.yaml").write_text(text[:start] + "  simulated: []\n" + text[end:])
    told = refused(project, "loop")
    assert "raters.simulated" in told.why
    with Project.open(project) as opened:
        assert not opened.runs()


# The machine


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system of its own here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small or read-only disk")


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize(
    "free_kib", [*(pytest.param(kib, marks=pytest.mark.slow) for kib in (60, 400, 800)), 200, 1300]
)
def test_a_full_disk_is_told_and_with_room_the_same_command_goes_on(tmp_path: Path, free_kib: int) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "40m"):
        project = make_project(tmp_path)
        shutil.move(project, disk / "project")
        room = shutil.disk_usage(disk).free - free_kib * 1024
        with (disk / "ballast").open("wb") as file:
            file.write(b"\0" * room)
        log = tmp_path / "log"
        told = ended(begin(disk / "project", log, "loop"), log)
        assert told.code == 2, told.text
        assert "Traceback" not in told.text
        assert "disk is full" in told.why or "No space left" in told.why, told.text
        assert told.fix
        (disk / "ballast").unlink()
        told = ended(begin(disk / "project", log, "loop"), log)
        assert told.code == 0, told.text
        with Project.open(disk / "project") as opened:
            assert {run.state for run in opened.runs()} == {"done"}
            assert not opened.verify_artifacts()


@needs_root
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "40m"):
        shutil.move(make_project(tmp_path), disk / "project")
        log = tmp_path / "log"
        assert ended(begin(disk / "project", log, "sample"), log).code == 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        write_lines(tmp_path / "shown.jsonl", SHOWN)
        files = [
            "--model",
            str(tmp_path / "model"),
            "--data",
            str(tmp_path / "shown.jsonl"),
            "--out",
            str(disk / "out"),
        ]
        for arguments in (["loop"], ["sample"], ["train", "sft", *files]):
            told = ended(begin(disk / "project", log, *arguments), log)
            assert told.code == 2, told.text
            assert "Traceback" not in told.text
            assert "read-only" in told.why.lower(), told.text
            assert told.fix


def test_a_second_process_is_told_which_one_is_at_work(project: Path) -> None:
    with Project.open(project) as opened, opened.lock():
        told = refused(project, "loop")
    assert f"process {os.getpid()}" in told.why
    assert f"kill -INT {os.getpid()}" in told.fix


def test_a_database_of_a_newer_heed_is_left_alone(project: Path) -> None:
    with closing(sqlite3.connect(project / "heed.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    before = (project / "heed.db").read_bytes()
    told = refused(project, "loop")
    assert "9999" in told.why
    assert "pip install" in told.fix
    assert (project / "heed.db").read_bytes() == before


def test_a_loss_that_is_no_number_names_step_and_rows_and_keeps_the_last_good_checkpoint(project: Path) -> None:
    write_lines(project.parent / "shown.jsonl", SHOWN)
    out = project.parent / "out"
    files = ["--model", str(project.parent / "model"), "--data", str(project.parent / "shown.jsonl"), "--out", str(out)]
    wild = ["--set", "learning_rate=1e30", "--set", "checkpoint_every=1", "--set", "prompts_per_step=4"]
    told = refused(project, "train", "sft", *files, *wild)
    step = int(told.what.removeprefix("step ").split(":")[0])
    assert step > 1
    assert "rows" in told.why
    assert "learning rate" in told.fix
    assert (out / "checkpoints" / "main" / f"step-{step - 1}" / "tensors.safetensors").is_file()
    assert not (out / "heed.json").exists()


def command_with_memory(folder: Path, log: Path, arguments: list[str], more_mib: int) -> None:
    """The command in a process that may use ``more_mib`` beyond what it has at its start."""
    used = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line).split()[1])
    limit = used * 1024 + more_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    command_line(folder, log, arguments)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("stage", "more_mib"), [("sft", 400), ("reward", 700)])  # a reward also loads scikit-learn
def test_no_memory_left_names_the_number_that_helps(tmp_path: Path, stage: str, more_mib: int) -> None:
    tokenizer = letter_tokenizer()
    wide = causal_model("llama", len(tokenizer), intermediate_size=20_000)
    wide.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"prompt": letters(n, 3), "completion": "abcd" * 20} for n in range(20)]
    pairs = [{"prompt": letters(n, 3), "chosen": "abcd" * 20, "rejected": "dcba" * 20} for n in range(20)]
    write_lines(tmp_path / "data.jsonl", rows if stage == "sft" else pairs)
    files = ["train", stage, "--model", "model", "--data", "data.jsonl", "--out", "out", "--set", "epochs=1"]
    log = tmp_path.parent / f"{tmp_path.name}.log"

    def run(*more: str) -> Told:
        return ended(start(command_with_memory, tmp_path, log, [*files, *more], more_mib), log)

    told = run()
    assert told.code == 2, told.text
    assert "Traceback" not in told.text
    assert "memory" in told.what
    assert "tokens_per_microbatch" in told.fix
    told = run("--set", "tokens_per_microbatch=200")
    assert told.code == 0, told.text


# Texts that are not meant well

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "\x08\x7f\x9b31m",
    "[bold]not markup[/bold]",
    "😀 é 漢字",
]


def test_hostile_texts_are_kept_as_they_are_and_shown_as_text(project: Path) -> None:
    big = "x" * 1_000_000
    rows = [
        comparison(n, "a") | {"prompt": f"p{n}", "completions": [text, f"fine {n}"]} for n, text in enumerate(HOSTILE)
    ]
    rows.append(comparison(1, "a") | {"prompt": HOSTILE[0] * 2, "completions": [big, "small"], "rater": HOSTILE[1]})
    write_lines(project / "in.jsonl", rows)
    told = heed(project, "feedback", "import", "in.jsonl")
    assert f"{len(rows)} judgments imported" in told.text, told.text
    with Project.open(project) as opened:
        kept = opened.store.completions()
    assert {c.text for c in kept} >= {*HOSTILE, big}
    for completion in kept:
        shown = heed(project, "trace", completion.id).text
        assert not any(c < " " and c != "\n" for c in shown)
        assert not set("\x7f\x9b\u202e") & set(shown)
    assert heed(project, "feedback", "export", "out.jsonl").code == 0
    lines = [json.loads(line) for line in (project / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["completions"][0] for row in lines] == [row["completions"][0] for row in rows]


def test_a_text_of_a_megabyte_is_left_out_of_training_and_counted(project: Path) -> None:
    rows = [comparison(n, "a") for n in range(30)] + [comparison(31, "a") | {"completions": ["a" * 1_000_000, "b"]}]
    write_lines(project.parent / "pairs.jsonl", rows)
    assert heed(project, *reward_on_files(project)).code == 0
    card = json.loads((project.parent / "out" / "heed.json").read_text())
    assert card["metrics"]["too_long"] == 1
