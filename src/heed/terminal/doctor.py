"""``heed doctor``: what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from heed.errors import HeedError, ProjectError
from heed.terminal.console import console
from heed.terminal.text import counted, safe

if TYPE_CHECKING:
    from heed.config import ProjectSettings
    from heed.runs import RunRecord

_MIB, _GIB = 2**20, 2**30
_MEMORY_NEEDED = int(2.5 * _GIB)  # what the loop takes in the built-in world
_DISK_NEEDED = 1 * _GIB
_HUB_SECONDS = 5
_QUIET_SECONDS = 2  # what takes longer shows how far it is
_OPTIONAL = {
    "quantized": "frozen weights of 8 or 4 bits under adapters, on CUDA devices",
    "lora": "training adapters instead of all weights",
    "hub": "data sets of the Hugging Face hub",
    "postgres": "projects on PostgreSQL",
    "vader": "the utility 'vader'",
    "control": "text environments of gymnasium, agents of Stable-Baselines3",
    "dev": "heed's own tests",
}


State = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it is, the details, and what to do about it ("" is nothing)."""

    name: str
    state: State
    detail: str
    fix: str = ""


def examine(folder: Path, online: bool) -> Iterator[Check]:
    """Look at the machine, the installation and the project around ``folder``; changes nothing. Each finding comes once it is known.

    Args:
        folder: where to look for a project.
        online: also try to reach the Hugging Face hub.
    """
    place = _project_folder(folder)
    yield _python()
    yield _torch()
    yield _processor()
    yield _product()
    yield _training()
    yield from _gpus()
    yield _memory()
    yield _disk("disk of the project" if place else "disk here", place or folder)
    yield _cache()
    yield from _extras()
    yield from _project(place) if place else [Check("project", "ok", f"none around {folder}")]
    if online:
        yield _hub()


def print_checks(checks: Iterable[Check]) -> list[Check]:
    """The findings as lines, as they come: state, name, details, and what to do where something is to be done. Returns them all."""
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    colours = {"ok": "green", "missing": "yellow", "problem": "bold red"}
    found = []
    for check in checks:
        found.append(check)
        line = Text(f"{check.state:<8} ", style=colours[check.state])
        line.append(safe(f"{check.name}: {check.detail}"), style="default not bold")
        screen.print(line, soft_wrap=not screen.is_terminal)
        if check.fix:
            screen.print(Padding(Text(safe(f"→ {check.fix}"), style="cyan"), (0, 0, 0, 9), expand=False))
    return found


# The machine


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()}, heed {metadata.version('heed')}, {sys.prefix}")


def _torch() -> Check:
    try:
        import torch

        transformers = metadata.version("transformers")
    except ImportError as error:
        return Check(
            "torch", "problem", f"it cannot be imported: {error}", "pip install --force-reinstall torch transformers"
        )
    return Check("torch", "ok", f"{torch.__version__}, transformers {transformers}")


def _processor() -> Check:
    from heed.stages.machine import processor

    name, flags = processor()
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16", "amx_bf16": "AMX", "asimd": "NEON"}
    able = [label for flag, label in known.items() if flag in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    what = name or platform.processor() or platform.machine()
    return Check(
        "processor", "ok", f"{what}, {counted(cores, 'core')} for heed, {', '.join(able) or 'no vector units known'}"
    )


def _product() -> Check:
    try:
        from heed.models.linear import by_onednn
        from heed.stages.plan import product_flops

        rate, half = product_flops("cpu"), product_flops("cpu", "bfloat16")
    except (ImportError, RuntimeError) as error:
        return Check("matrix products", "problem", f"they fail: {error}", "pip install --force-reinstall torch")
    path = "oneDNN" if by_onednn() else "torch's own"
    rates = f"{rate / 1e9:,.0f} GFLOP/s in float32, by {path}, {half / 1e9:,.0f} in bfloat16"
    return Check("matrix products", "ok", rates)


def _training() -> Check:
    """In which numbers to train, on the device that ``device: auto`` takes."""
    try:
        from heed.stages.machine import fastest, training_rates
        from heed.stages.results import prepare_machine

        device = prepare_machine("auto")
        rates = training_rates(device)
    except (ImportError, RuntimeError) as error:
        return Check("training", "problem", f"a step fails: {error}", "pip install --force-reinstall torch")
    told = " and ".join(f"{rate:,.0f} in {name}" for name, rate in rates.items())
    detail = (
        f"{told} tokens a second of a small model, on {device}: new projects here train with dtype {fastest(rates)}"
    )
    return Check("training", "ok", detail)


def _gpus() -> list[Check]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        built = torch.version.cuda
        if built is None and Path("/proc/driver/nvidia/version").exists():
            return [
                Check(
                    "GPU",
                    "problem",
                    "there is an NVIDIA driver, but this torch was built for processors only",
                    "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
                )
            ]
        return [Check("GPU", "ok", "none; everything runs on the processor")]
    found = []
    for number in range(torch.cuda.device_count()):
        traits = torch.cuda.get_device_properties(number)
        detail = f"{traits.name}, {traits.total_memory / _GIB:,.0f} GiB, compute {traits.major}.{traits.minor}"
        found.append(Check(f"GPU cuda:{number}", "ok", detail))
    return found


def _memory() -> Check:
    sizes = {
        key: int(value) * 1024
        for key, value in re.findall(r"^(\w+): +(\d+) kB$", _read(Path("/proc/meminfo")), re.MULTILINE)
    }
    if "MemAvailable" not in sizes:
        return Check("memory", "ok", "not known on this system")
    free = sizes["MemAvailable"]
    detail = f"{free / _GIB:.1f} of {sizes['MemTotal'] / _GIB:.1f} GiB free"
    if free < _MEMORY_NEEDED:
        return Check(
            "memory",
            "problem",
            detail,
            "Close other programs, or lower tokens_per_microbatch and rows_per_batch in heed.yaml.",
        )
    return Check("memory", "ok", detail)


def _disk(name: str, folder: Path) -> Check:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / _GIB:,.1f} GiB free at {folder}"
    if not os.access(there, os.W_OK):
        return Check(name, "problem", f"{there} may not be written to", f"chmod u+w {there}, or use another folder.")
    if free < _DISK_NEEDED:
        return Check(
            name,
            "problem",
            detail,
            f"Free some space: a run keeps several copies of a model (at least {_DISK_NEEDED // _GIB} GiB).",
        )
    return Check(name, "ok", detail)


def _cache() -> Check:
    from heed.sandbox.world import cache_folder

    try:
        return _disk("disk of the cache", cache_folder())
    except HeedError as error:
        return Check("disk of the cache", "problem", f"{error.what}: {error.why}", error.fix)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# The installation


def _extras() -> list[Check]:
    """One finding an optional extra, from what heed's own metadata says it needs."""
    needed: dict[str, list[str]] = {}
    for requirement in metadata.requires("heed") or []:
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        package = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra and package:
            needed.setdefault(extra[1], []).append(package[0])
    checks = []
    for name, packages in sorted(needed.items()):
        absent = [package for package in packages if not _installed(package)]
        purpose = f" ({_OPTIONAL[name]})" if name in _OPTIONAL else ""
        if absent:
            fix = f"pip install {' '.join(absent)}"
            checks.append(Check(f"extra {name}", "missing", f"{', '.join(absent)}{purpose}", fix))
        else:
            checks.append(Check(f"extra {name}", "ok", f"{', '.join(packages)}{purpose}"))
    return checks


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _hub() -> Check:
    import urllib.error
    import urllib.request

    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Check(
            "hub", "missing", "HF_HUB_OFFLINE is set: only what lies in the cache is used", "unset HF_HUB_OFFLINE"
        )
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_HUB_SECONDS):
            return Check("hub", "ok", f"{address} answers")
    except urllib.error.HTTPError as error:
        return Check("hub", "ok", f"{address} answers ({error.code})")
    except (OSError, ValueError) as error:
        fix = "Use a model folder; or set HTTPS_PROXY, or HF_ENDPOINT for a mirror."
        return Check("hub", "missing", f"{address} cannot be reached: {getattr(error, 'reason', error)}", fix)


# The project


def _project_folder(folder: Path) -> Path | None:
    from heed.folder import is_project

    start = folder.resolve()
    return next((place for place in (start, *start.parents) if is_project(place)), None)


def _project(folder: Path) -> list[Check]:
    from heed.config import NO_MODEL, load_settings
    from heed.folder import SETTINGS_FILE, project_lock

    try:
        settings = load_settings(folder / SETTINGS_FILE)
    except HeedError as error:
        return [Check("heed.yaml", "problem", f"{error.what}: {error.why}", error.fix)]
    checks = [Check("heed.yaml", "ok", f"project {settings.name} at {folder}"), _base_model(folder, settings.model)]
    for name, file in (("prompts", settings.prompts), ("demonstrations", settings.demonstrations)):
        if file and not (folder / file).is_file():
            state: State = "missing" if settings.model == NO_MODEL else "problem"
            fix = f"Put it there, or correct '{name}' in heed.yaml."
            checks.append(Check(name, state, f"{folder / file} is missing", fix))
    checks += _database(folder, settings)
    owner = project_lock(folder).owner()
    held = "free" if owner is None else f"held by process {owner.pid} on {owner.host} since {owner.since}"
    checks.append(Check("lock", "ok", held))
    return checks


def _base_model(folder: Path, model: str) -> Check:
    from heed.config import NO_MODEL

    if model == NO_MODEL:
        return Check("base model", "missing", "none has been chosen yet", "Set 'model' in heed.yaml before training.")
    place = next((path for path in (folder / model, Path(model)) if path.is_dir()), None)
    if place is not None:
        if (place / "config.json").is_file() or (place / "adapter_config.json").is_file():
            return Check("base model", "ok", str(place))
        return Check("base model", "problem", f"{place} has no config.json", "Correct 'model' in heed.yaml.")
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        return Check("base model", "problem", f"{model} does not exist", "Correct 'model' in heed.yaml.")
    return Check("base model", "ok", f"{model}, from the hub at first use")


def _database(folder: Path, settings: ProjectSettings) -> list[Check]:
    """The database, and the artifacts that it knows of where it can be opened without being changed."""
    from heed.feedback.database import MIGRATIONS
    from heed.feedback.schema import HEAD

    try:
        kind, revision = _schema(folder, settings)
    except HeedError as error:
        return [Check("database", "problem", error.why.removesuffix("."), error.fix)]
    if revision is None:
        return [Check("database", "ok", f"{kind}, made by the first command")]
    shown = f"{kind}, schema {revision}"
    if revision == HEAD:
        return [Check("database", "ok", shown), *_artifacts(folder)]
    known = any(f'revision = "{revision}"' in _read(file) for file in (MIGRATIONS / "versions").glob("*.py"))
    if known:
        detail = f"{shown}; the next command brings it to {HEAD} and keeps a copy of an SQLite file"
        return [Check("database", "ok", detail)]
    unknown = f"{shown}, which heed {metadata.version('heed')} does not know"
    return [Check("database", "problem", unknown, "pip install -U heed")]


def _schema(folder: Path, settings: ProjectSettings) -> tuple[str, str | None]:
    """The kind of database, and the revision of its schema; None where there is no database yet.

    Raises:
        ProjectError: it cannot be read, or was there before and has vanished.
    """
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    from heed.folder import check_database

    check_database(folder, settings)
    try:
        address = make_url(settings.database)
        kind = address.get_backend_name()
        if kind == "sqlite":
            file = folder / (address.database or "")
            if not file.is_file():
                return kind, None
            address = address.set(database=f"file:{quote(os.fsencode(file))}", query={"mode": "ro", "uri": "true"})
        elif address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        engine = create_engine(address)
        try:
            with engine.connect() as connection:
                if kind == "sqlite" and (found := connection.execute(text("PRAGMA quick_check(1)")).scalar()) != "ok":
                    raise ProjectError("database", f"{found}.", "Put it back from a copy.")
                return kind, connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise ProjectError(
            "database", f"the driver {error.name} is not installed.", "pip install 'psycopg[binary]'"
        ) from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ProjectError(
            "database", f"it cannot be read: {reason}.", "Check 'database' in heed.yaml, or restore a copy."
        ) from None


def _artifacts(folder: Path) -> list[Check]:
    """Whether everything that the runs left behind is still what they left: all of it is read."""
    from heed.project import Project
    from heed.terminal.watcher import watching

    began, size = time.monotonic(), 0

    def progress(read: int, total: int) -> None:
        nonlocal size
        size = total
        if time.monotonic() - began > _QUIET_SECONDS:
            watcher.advance(read // _MIB, total // _MIB, "MiB of artifacts read")

    try:
        with Project(folder) as project, watching(quiet=False) as watcher:
            faults = [(fault, project.run(fault.run_id)) for fault in project.verify_artifacts(progress)]
    except HeedError as error:
        return [Check("artifacts", "problem", f"{error.what}: {error.why}", error.fix)]
    if not faults:
        return [Check("artifacts", "ok", f"{size / _MIB:,.1f} MiB, all as the runs left them")]
    return [
        Check(
            f"artifact '{fault.name}' of {run.id}",
            "problem",
            f"{fault.reason}: {fault.path}",
            f"Put it back from a copy, or do {_again(run)}.",
        )
        for fault, run in faults
    ]


def _again(run: RunRecord) -> str:
    """How to have an artifact of the run made once more."""
    if run.stage not in ("sft", "reward", "policy"):
        return f"{run.id} again"
    turn = f" --round {run.round}" if run.round else ""
    return f"{run.id} again with: heed train {run.stage}{turn} --fresh"
