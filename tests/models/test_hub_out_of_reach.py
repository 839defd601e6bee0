"""Models of the hub where its name cannot be resolved: what lies in the cache is used, and what does not is said at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_models import tiny_policy

_REVISION = "0" * 40


def heed(folder: Path, model: str) -> subprocess.CompletedProcess[str]:
    """Tuning on one text, in a process of its own: the hub's address is read when its client is imported."""
    (folder / "rows.jsonl").write_text('{"prompt": "ab", "completion": "cd"}\n')
    told = ["--data", "rows.jsonl", "--out", "tuned", "--quiet"]
    apart = {"HF_ENDPOINT": "https://hub.invalid", "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
    mine = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "heed", "train", "sft", "--model", model, *told],
        cwd=folder,
        env=mine | apart,
        capture_output=True,
        text=True,
    )


def test_a_cached_model_is_read_without_asking(tmp_path: Path) -> None:
    held = tmp_path / "home" / "hub" / "models--some--letters"
    tiny_policy().save(tmp_path / "letters")
    (held / "refs").mkdir(parents=True)
    (held / "refs" / "main").write_text(_REVISION)
    shutil.copytree(tmp_path / "letters", held / "snapshots" / _REVISION)
    done = heed(tmp_path, "some/letters")
    assert done.returncode == 0, done.stderr
    assert "Retry" not in done.stderr


def test_what_is_wrong_with_a_cached_model_is_told(tmp_path: Path) -> None:
    test_a_cached_model_is_read_without_asking(tmp_path)
    (weights,) = (tmp_path / "home" / "hub").rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    shutil.rmtree(tmp_path / "tuned")
    done = heed(tmp_path, "some/letters")
    assert done.returncode == 2
    assert "header" in done.stderr
    assert "cannot be reached" not in " ".join(done.stderr.partition("fix:")[0].split())


@pytest.mark.parametrize("model", ["mispelt", "nobody/nothing"])
def test_an_unknown_one_is_refused_without_trying_again(model: str, tmp_path: Path) -> None:
    done = heed(tmp_path, model)
    assert done.returncode == 2
    assert "no folder has this name, the hub cannot be reached from here" in " ".join(done.stderr.split())
    assert "Retry" not in done.stderr
