"""What a model's weights are known by, without reading gigabytes of them for every command."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from heed.artifacts import tree_hash
from heed.errors import ConfigError
from heed.files import write_text
from heed.sandbox.world import cache_folder

_ADAPTER = "adapter_config.json"
_CARDS = ("config.json", "reward.json", _ADAPTER)
"""What a model folder has, what a folder of reward models has, and what an adapter's has."""

_WORTH_REMEMBERING = 64 * 2**20
"""Bytes of a model whose hash is remembered; a smaller one is hashed in a moment."""

_SETTLED_SECONDS = 2
"""A file changed less than this before it was read might be changed once more within the same tick of its clock."""


def model_identity(source: str | Path) -> str:
    """The hash of a model folder's files, or a hub id as it is. Hidden files and notes (``.md``) are no part of a model.

    Of a large model the hash is remembered in heed's cache, for as long as no file of it has another size or time.
    """
    folder = Path(source)
    # What is no model is not read through, however much there is of it: loading it will tell what it lacks.
    if not any((folder / card).is_file() for card in _CARDS):
        return str(source)
    own = _own_identity(folder)
    if not (folder / _ADAPTER).is_file() or (folder / "config.json").is_file():
        return own
    from heed.models.adapters import base_of

    # An adapter is as much of a model as what it was trained on.
    return hashlib.sha256(f"{model_identity(base_of(folder) or '')} {own}".encode()).hexdigest()


def _own_identity(folder: Path) -> str:
    """The hash of the files in a folder."""
    files = _files(folder)
    states = {name: file.stat() for name, file in files.items()}
    if sum(state.st_size for state in states.values()) < _WORTH_REMEMBERING:
        return tree_hash(files)
    # The time of change and the inode as well: a copy may carry the time of modification of what it was made from.
    stamps = [[n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for n, s in sorted(states.items())]
    with suppress(OSError, ValueError, KeyError, TypeError, ConfigError):  # nothing remembered, or damaged
        remembered = json.loads(_memory(folder).read_text(encoding="utf-8"))
        if remembered["files"] == stamps:
            return str(remembered["identity"])
    began = time.time()
    identity = tree_hash(files)
    if max(max(state.st_mtime, state.st_ctime) for state in states.values()) < began - _SETTLED_SECONDS:
        with suppress(OSError, ConfigError):  # without a cache it takes longer, and nothing else
            memory = _memory(folder)
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_text(memory, json.dumps({"files": stamps, "identity": identity}))
    return identity


def _memory(folder: Path) -> Path:
    """The file that remembers the hash of a model folder."""
    return cache_folder() / "models" / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]


def _files(folder: Path) -> dict[str, Path]:
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(place, name)
            if not name.startswith(".") and not name.lower().endswith(".md") and file.is_file():
                found[file.relative_to(folder).as_posix()] = file.resolve()
    return found
