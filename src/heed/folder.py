"""What lies in the folder of a project: who may make one there, what is its own, and which database it misses.

heed.yaml        the settings                    runs/<id>/      the files of each run
heed.db          the store (unless elsewhere)    artifacts/      what finished runs keep, by content
heed.lock        held by the process that writes
.heed-database   the name of the SQLite database that was made: one that is gone is missed
.heed-init       held by the process that makes the project; left behind only by one that was killed
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, make_url

from heed.config import ProjectSettings, commented_yaml, load_settings
from heed.errors import DataError, ProjectError
from heed.feedback.store import Store
from heed.files import file_errors, ordinary_file, remove_partial, shown_entries, write_text
from heed.lock import FileLock
from heed.texts import text_fault

SETTINGS_FILE, RUNS, ARTIFACTS = "heed.yaml", "runs", "artifacts"
_LOCK, _DATABASE_MADE, _MAKING = "heed.lock", ".heed-database", ".heed-init"
_REPORTS = ("report.html", "report.json")


def is_project(folder: Path) -> bool:
    """Whether the folder itself is a project."""
    return (folder / SETTINGS_FILE).is_file()


def project_lock(folder: Path) -> FileLock:
    """The lock of the process that writes to the project in ``folder``."""
    return FileLock(folder / _LOCK, f"project {folder}", "Use one Project object.")


def result_file(path: Path) -> Path:
    """The file that ``path`` means, where a command is to write a result of its own.

    Raises:
        DataError: it is no ordinary file and cannot become one, or a project needs what lies there.
        ConfigError: it would lie in a project whose heed.yaml is wrong.
    """
    target = ordinary_file(path)
    for place in filter(is_project, target.parents):
        top = target.relative_to(place).parts[0]
        settings = load_settings(place / SETTINGS_FILE)
        named = (settings.prompts, settings.demonstrations, _sqlite_name(settings))
        own = {(place / name).resolve() for name in named if name}
        if top in (RUNS, ARTIFACTS, *_REPORTS) or top.startswith(("heed.", ".heed")) or target in own:
            raise DataError(
                f"cannot write {path}", f"the project {place} itself needs what lies there.", "Choose another name."
            )
    return target


# Making a project


def check_new_folder(folder: str | Path) -> Path:
    """The folder in which a project can be made: not there yet, empty, or with what a killed process left of one.

    Raises:
        ProjectError: it is a project or a file, or holds something else.
    """
    place = Path(folder).resolve()
    if fault := text_fault(str(place)):
        raise ProjectError(f"folder {place}", f"{fault}, and models cannot be saved there.", "Name another folder.")
    with file_errors(f"folder {place}"):
        if is_project(place):
            raise ProjectError(
                f"folder {place}", "it is a heed project already.", "Go into it and use it, or name another folder."
            )
        there = next(entry for entry in (place, *place.parents) if entry.exists())
        if not there.is_dir():
            raise ProjectError(
                f"folder {place}", f"{'it' if there == place else there} is a file.", "Name another folder."
            )
        if place.exists() and any(place.iterdir()) and not (place / _MAKING).exists():
            raise ProjectError(
                f"folder {place}", f"it is not empty: it has {shown_entries(place)}.", "Name a new or an empty folder."
            )
    return place


def make_project_folder(
    folder: str | Path, settings: ProjectSettings, fill: Callable[[Path], None], private: bool = False
) -> Path:
    """Make ``folder`` a project; see :meth:`heed.project.Project.create`.

    Raises:
        ProjectError: see there.
    """
    place = check_new_folder(folder)
    making = FileLock(place / _MAKING, f"folder {place}", "Wait until it has made the project.")
    with file_errors(f"folder {place}"):
        place.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        making.acquire()
        try:
            check_new_folder(place)  # once more: who held the lock a moment ago may have made it a project
            _fill(place, settings, fill)
        finally:
            # Beside what an earlier, killed process made it stays, and says whose that is.
            making.release(remove=is_project(place) or list(place.iterdir()) == [making.path])
    return place


def _fill(place: Path, settings: ProjectSettings, fill: Callable[[Path], None]) -> None:
    """heed.yaml comes last: a folder with it has everything else."""
    remove_partial(place)
    found = set(place.iterdir())
    try:
        fill(place)
        open_store(place, settings).close()
        write_text(place / SETTINGS_FILE, commented_yaml(settings))
    except BaseException:
        for entry in set(place.iterdir()) - found:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise


def forget_making(folder: Path) -> None:
    """Remove the mark of a process that was killed when it had made the project and had only that left to do."""
    mark = folder / _MAKING
    with file_errors(f"project {folder}"):
        if mark.exists():  # a read-only file system refuses to unlink even what is not there
            mark.unlink(missing_ok=True)


# The database


def open_store(folder: Path, settings: ProjectSettings) -> Store:
    """The project's store, with the folders beside it; what was never there is made.

    Raises:
        ProjectError: the database has vanished or cannot be used, or the folder cannot be written to.
    """
    check_database(folder, settings)
    with file_errors(f"project {folder}"):
        for part in (RUNS, ARTIFACTS):
            (folder / part).mkdir(exist_ok=True)
    name = _sqlite_name(settings)
    if name is None:
        return Store.open(settings.database)
    # Not as text: the name of a folder may hold what means something else in a URL, a question mark for one.
    store = Store.open(URL.create("sqlite", database=str(folder / name)))
    try:
        # Only now: a mark without a database would be taken for a loss.
        with file_errors(f"project {folder}"):
            if _marked(folder) != name:
                write_text(folder / _DATABASE_MADE, f"{name}\n")
    except ProjectError:
        store.close()
        raise
    return store


def check_database(folder: Path, settings: ProjectSettings) -> None:
    """Refuse to make a new database where another one was: what people said would be gone in silence.

    Raises:
        ProjectError: an SQLite database that the project knew has vanished, or the URL names no file.
    """
    name = _sqlite_name(settings)
    if name is None:
        return
    file = folder / name
    with file_errors(f"database {file}"):
        if file.exists() and file.stat().st_size:
            return
        parts = [part for part in (RUNS, ARTIFACTS) if (folder / part).is_dir()]
        signs = [f"{part}/" for part in parts if any((folder / part).iterdir())]
        signs += [_LOCK] if (folder / _LOCK).exists() else []
        signs += [_DATABASE_MADE] if _marked(folder) == name else []
        if signs:
            raise ProjectError(
                f"database {file}",
                f"it is {'empty' if file.exists() else 'missing'}, but was there before: {', '.join(signs)} tell of it.",
                f"Put it back from a copy. To begin a new project in this folder, delete {', '.join(signs)} first.",
            )


def _sqlite_name(settings: ProjectSettings) -> str | None:
    """The SQLite file of ``heed.yaml`` as it stands there; None for another kind of database."""
    url = settings.database
    if not url.startswith("sqlite"):
        return None
    name = make_url(url).database if url.startswith("sqlite:///") else None
    if not name or name == ":memory:":
        raise ProjectError(f"database {url}", "it names no file.", f"Write sqlite:///heed.db in {SETTINGS_FILE}.")
    return name


def _marked(folder: Path) -> str:
    """The database that was made here last; "" if none was."""
    try:
        return (folder / _DATABASE_MADE).read_text(encoding="utf-8").removesuffix("\n")
    except FileNotFoundError:
        return ""
