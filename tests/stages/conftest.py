"""What several tests of stages begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_models import byte_policy


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that no other test has filled."""
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("models") / "model"
    byte_policy(initializer_range=0.05).save(folder)
    return folder
