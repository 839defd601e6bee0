"""Artifacts: kept by content, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from heed.artifacts import ArtifactFolder, tree_hash
from heed.config import ProjectSettings
from heed.errors import ProjectError
from heed.project import Cost, Project


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "mine", ProjectSettings(name="mine", model="some/model")) as made:
        yield made


def finish_with(project: Project, content: bytes) -> str:
    run = project.begin_run("reward", {"content": content.hex()}, 0)
    (run.folder / "model" / "sub").mkdir(parents=True)
    (run.folder / "model" / "weights.bin").write_bytes(content)
    (run.folder / "model" / "sub" / "config.json").write_text("{}")
    (run.folder / "report.html").write_text("<p>")
    run.finish({}, Cost(), {"model": Path("model"), "report": run.folder / "report.html"})
    return run.id


def test_artifacts_lie_under_the_hash_that_sha256sum_gives(project):
    run_id = finish_with(project, b"abc")
    lines = [(hashlib.sha256(b"{}"), "sub/config.json"), (hashlib.sha256(b"abc"), "weights.bin")]
    listing = "".join(f"{digest.hexdigest()}  {name}\n" for digest, name in lines)
    expected = hashlib.sha256(listing.encode()).hexdigest()
    model = project.artifact("model", run_id)
    assert model == project.folder / "artifacts" / expected[:2] / expected
    assert (model / "weights.bin").read_bytes() == b"abc"
    assert project.artifact("report", run_id).read_text() == "<p>"
    assert project.artifacts(run_id)["model"].bytes == 5
    assert project.verify_artifacts() == []
    with pytest.raises(ProjectError, match="it has model, report"):
        project.artifact("weights", run_id)


def test_what_a_run_wrote_is_linked_and_what_came_from_outside_is_copied(project, tmp_path):
    run_id = finish_with(project, b"abc")
    inner = project.run(run_id).folder / "model" / "weights.bin"
    assert inner.samefile(project.artifact("model", run_id) / "weights.bin")
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"mine")
    project.begin_run("import", {}, 0).finish({}, Cost(), {"model": outside})
    outside.write_bytes(b"changed by its owner")
    assert project.artifact("model", "import-1").read_bytes() == b"mine"


def test_equal_content_is_kept_once_and_other_content_apart(project):
    first, second = finish_with(project, b"abc"), finish_with(project, b"abd")
    third = project.begin_run("copy", {}, 0)
    third.finish({}, Cost(), {"model": project.run(first).folder / "model"})
    assert project.artifact("model", first) == project.artifact("model", third.id) != project.artifact("model", second)


def test_verification_finds_what_was_changed_and_what_is_missing(project):
    changed, missing = finish_with(project, b"abc"), finish_with(project, b"xyz")
    (project.artifact("model", changed) / "weights.bin").write_bytes(b"abC")
    victim = project.artifact("model", missing)
    for file in files_below(victim):
        file.unlink()
    faults = {(fault.name, fault.run_id): fault.reason for fault in project.verify_artifacts()}
    assert faults[("model", changed)] == "its content has changed"
    assert ("model", missing) in faults
    assert len(faults) == 2


def files_below(folder: Path) -> list[Path]:
    return [entry for entry in folder.rglob("*") if entry.is_file()]


def test_a_damaged_artifact_is_replaced_when_the_same_comes_again(tmp_path):
    kept = ArtifactFolder(tmp_path / "artifacts", tmp_path / "runs")
    source = tmp_path / "w.bin"
    source.write_bytes(b"good")
    artifact = kept.add(source)
    kept.path(artifact).write_bytes(b"bad!")
    assert kept.fault(artifact) == "its content has changed"
    assert kept.add(source) == artifact
    assert kept.fault(artifact) is None


def test_artifacts_that_cannot_be_kept_leave_the_run_to_be_finished_again(project):
    run = project.begin_run("reward", {}, 0)
    (run.folder / "empty").mkdir()
    for bad in ("absent", "empty"):
        with pytest.raises(ProjectError, match="there is no file"):
            run.finish({}, Cost(seconds=1.0), {"model": Path(bad)})
    assert (run.state, project.run(run.id).cost.seconds) == ("running", 0.0)
    (run.folder / "empty" / "w").write_bytes(b"1")
    run.finish({}, Cost(seconds=1.0), {"model": Path("empty")})
    assert project.run(run.id).cost.seconds == 1.0


def test_a_kill_while_an_artifact_is_put_in_leaves_none_or_all_of_it(project, tmp_path):
    source = tmp_path / "model"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.bin").write_bytes(os.urandom(2000))
    expected = tree_hash({path.name: path for path in source.iterdir()})
    code = """
        import sys
        from pathlib import Path
        from heed.artifacts import ArtifactFolder
        root = Path(sys.argv[1])
        print("ready", flush=True)
        ArtifactFolder(root / "artifacts", root / "runs").add(Path(sys.argv[2]))
    """
    for seconds in (0.005, 0.02, 0.05):
        command = [sys.executable, "-c", textwrap.dedent(code), str(project.folder), str(source)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        final = project.folder / "artifacts" / expected[:2] / expected
        assert not final.exists() or tree_hash({path.name: path for path in final.iterdir()}) == expected
    project.begin_run("import", {}, 0).finish({}, Cost(), {"model": source})
    assert project.verify_artifacts() == []
    assert list((project.folder / "artifacts").glob(".partial-*")) == []  # nothing is left of the killed ones
