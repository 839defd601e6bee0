"""The house holds: floors, what may be imported where, what no file may do, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "heed"
FILES = sorted(SOURCE.rglob("*.py"))

FLOORS = (
    (
        "errors",
        "algorithms",
        "texts",
        "files",
        "safe_yaml",
        "settings",
        "constraint_settings",
        "rater_settings",
        "tuning_settings",
        "serve_settings",
        "training_settings",
        "value_settings",
        "config",
        "fitting",
        "lazily",
        "memory",
        "statistics",
    ),
    ("losses", "teaching"),
    ("feedback",),
    ("raters", "dialogues"),
    ("people",),
    ("models",),
    ("train",),
    ("evaluate",),
    ("environments",),
    ("sandbox",),
    ("artifacts", "lock", "folder", "runs", "lineage", "project", "contributions"),
    (
        *("stages", "questions", "preflight", "studio_items", "round_sources", "rounds", "loop", "reporting", "demo"),
        *("chosen", "round_runs", "asking", "labelling", "live_ratings", "optimising"),
    ),
    ("web", "client"),
    ("terminal", "cli", "__main__"),
)
"""Lowest first. A room is a folder or a file of ``src/heed``; rooms of one floor may lean on each other in one direction."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ENTRANCE = "__init__"  # re-exports from every floor, and only when asked

BY_NAME_ONLY = {("raters", "sandbox")}
"""Looked up by a name that stands in ``heed.yaml``, at the moment it is needed: the utility of the built-in world."""

HEAVY = {"torch", "transformers", "sqlalchemy"}
LONGEST_FILE = 450


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import of a file, wherever in the file it stands."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            yield node.module, node.lineno
            if node.module == "heed":
                yield from ((f"heed.{name.name}", node.lineno) for name in node.names)


def rooms_used(path: Path) -> Iterator[tuple[str, int]]:
    for module, line in imported(path):
        owner, _, rest = module.partition(".")
        if owner == "heed" and rest:
            yield rest.partition(".")[0], line


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in FILES} - {ENTRANCE}
    assert rooms == set(FLOOR_OF)


def test_files_import_only_from_their_own_floor_and_below() -> None:
    upward = [
        f"{path.relative_to(SOURCE)}:{line} imports {room}"
        for path in FILES
        if (own := room_of(path)) != ENTRANCE
        for room, line in rooms_used(path)
        if FLOOR_OF[room] > FLOOR_OF[own] and (own, room) not in BY_NAME_ONLY
    ]
    assert not upward


def test_what_is_looked_up_by_name_is_never_imported_with_the_file() -> None:
    for path in FILES:
        for node in parse(path).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = node.module.split(".")
                assert (room_of(path), parts[1] if len(parts) > 1 else "") not in BY_NAME_ONLY, f"{path}:{node.lineno}"


def test_rooms_do_not_depend_on_each_other_in_circles() -> None:
    uses: dict[str, set[str]] = {room: set() for room in FLOOR_OF}
    for path in FILES:
        if (own := room_of(path)) != ENTRANCE:
            uses[own] |= {room for room, _ in rooms_used(path) if room != own and (own, room) not in BY_NAME_ONLY}
    while uses:
        free = {room for room, needed in uses.items() if not needed & set(uses)}
        assert free, f"a circle among {sorted(uses)}"
        uses = {room: needed for room, needed in uses.items() if room not in free}


def test_losses_are_functions_of_tensors_that_know_nothing_of_heed() -> None:
    used = {(path.name, room) for path in FILES if room_of(path) == "losses" for room, _ in rooms_used(path)}
    assert {room for _, room in used} <= {"losses"}, used


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import heed", HEAVY | {"typer", "rich", "pydantic", "numpy"}),
        ("import heed.config, heed.errors, heed.files", HEAVY | {"numpy"}),
        ("import heed.project, heed.stages.data", {"torch", "transformers"}),
        ("import heed.cli", HEAVY),
        ("import sys; sys.argv = ['heed', '--help']; import heed.cli; heed.cli.app(standalone_mode=False)", HEAVY),
    ],
)
def test_light_imports_stay_light(statement: str, forbidden: set[str]) -> None:
    assert not loaded_after(statement) & forbidden


@pytest.mark.parametrize("package", ["feedback", "raters", "people", "web"])
def test_what_people_said_needs_no_torch(package: str) -> None:
    modules = [
        ".".join(["heed", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        for path in FILES
        # Alembic runs these two kinds of files itself; they cannot be imported without it.
        if room_of(path) == package and path.parent.name != "versions" and path.name != "env.py"
    ]
    assert modules
    assert not loaded_after(f"import {', '.join(modules)}") & {"torch", "transformers"}


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a new interpreter has loaded after ``statement``."""
    program = f"{statement}\nimport sys\nprint('\\nLOADED', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return set(line.split()[1:])


UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {
    ("yaml", name) for name in ("load", "load_all", "full_load", "unsafe_load", "full_load_all", "unsafe_load_all")
} | {("torch", "load"), ("torch", "save"), ("os", "system")}


def test_nothing_that_is_read_can_run_code() -> None:
    """Weights are safetensors, settings safe YAML, data JSON: a file from somebody else is data and stays data."""
    found = []
    for path in FILES:
        found += [f"{path}:{line} {name}" for name, line in imported(path) if name.partition(".")[0] in UNSAFE_MODULES]
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and isinstance(called := node.func, ast.Attribute):
                owner = called.value.id if isinstance(called.value, ast.Name) else ""
                if (owner, called.attr) in UNSAFE_CALLS:
                    found.append(f"{path}:{node.lineno} {owner}.{called.attr}")
                allowed = [k for k in node.keywords if k.arg in ("allow_pickle", "trust_remote_code")]
                found += [
                    f"{path}:{node.lineno} {keyword.arg}"
                    for keyword in allowed
                    if not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                ]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                found.append(f"{path}:{node.lineno} {node.func.id}")
    assert not found


def test_files_stay_short_enough_to_read() -> None:
    long = {str(path): count for path in FILES if (count := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert not long
