"""What all benchmarks share: rows of results, the table for people, the machine they ran on, and where data lies."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

_HERE = Path(__file__).resolve().parent
_SHARED = _HERE.parent.parent / "shared"
_DRAWS = 2000


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        what: name of the figure.
        value: the estimate; None where it could not be taken, and ``skipped`` says why.
        unit: of value, low, high and target.
        low, high: ends of its 95 % interval; None where one measurement stands alone.
        target: what is to be reached; None where the figure is only shown. at: whether the target is the least or the most.
        seeds: the seeds behind it.
        seconds: wall-clock time that taking it cost (seconds).
        details: what else belongs to it.
    """

    what: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    target: float | None = None
    at: Literal["least", "most"] = "least"
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the estimate reaches the target; None where there is no target or no estimate."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.at == "least" else self.value <= self.target

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "met": self.met}, ensure_ascii=False)


class Report:
    """Prints rows as they come, JSON lines on stdout; at the end a table on stderr and a file of results.

    Args:
        name: of the benchmark; its results are kept in ``results/NAME.jsonl``.
        out, people: where lines and table go.
        folder: where the file of results goes; None keeps none, for runs of a part.
    """

    def __init__(self, name: str, out: TextIO, people: TextIO, folder: Path | None) -> None:
        self.name, self.out, self.people, self.folder = name, out, people, folder
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(row.as_json(), file=self.out, flush=True)

    def skip(self, what: str, reason: str, unit: str = "") -> None:
        """A figure that could not be taken here."""
        self.add(Row(what, None, unit, skipped=reason))
        print(f"skipped: {what}: {reason}", file=self.people, flush=True)

    def finish(self) -> None:
        """Show the table and keep the lines, the machine's description first."""
        from rich.console import Console

        Console(file=self.people, width=None if self.people.isatty() else 140).print(table(self.name, self.rows))
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"machine": machine()}), *(row.as_json() for row in self.rows)]
        (self.folder / f"{self.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(name: str, rows: Sequence[Row]) -> Any:
    """The rows as a rich table."""
    from rich.table import Table

    made = Table(title=name, title_justify="left")
    for heading in ("what", "value", "95 % interval", "target", "met", "details"):
        made.add_column(heading, justify="left" if heading in ("what", "details") else "right")
    for row in rows:
        words = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}
        interval = "" if row.low is None or row.high is None else f"{row.low:.3g} to {row.high:.3g}"
        target = "" if row.target is None else f"at {row.at} {row.target:g}"
        value = "skipped" if row.value is None else f"{row.value:.3g} {row.unit}"
        details = row.skipped or ", ".join(f"{key} {shown(value)}" for key, value in row.details.items())
        made.add_row(row.what, value, interval, target, words[row.met], details)
    return made


def shown(value: Any) -> str:
    """A detail in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the program."""
    import torch

    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def median_interval(draw: Callable[..., float], *samples: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """A figure of the medians of some samples, with its 95 % bootstrap interval (percentile method).

    Args:
        draw: makes the figure of one median a sample.
        samples: measurements [N] each; every sample is resampled by itself.

    Returns:
        The figure, and the ends of its interval.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    medians = [np.median(rng.choice(array, (_DRAWS, array.size)), axis=1) for array in arrays]
    drawn = [draw(*(float(m) for m in row)) for row in zip(*medians, strict=True)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return draw(*(float(np.median(array)) for array in arrays)), float(low), float(high)


def data_folder() -> Path:
    """Where data sets are looked for: ``$HEED_DATA``, or ``../shared/data`` beside the checkout."""
    return Path(os.environ.get("HEED_DATA", _SHARED / "data"))


def models_folder() -> Path:
    """Where models are looked for: ``$HEED_MODELS``, or ``../shared/models`` beside the checkout."""
    return Path(os.environ.get("HEED_MODELS", _SHARED / "models"))


def peers_script() -> Path:
    """The script that times the peers: ``$HEED_PEERS``, or ``../shared/peers/trl_speed.py`` beside the checkout."""
    return Path(os.environ.get("HEED_PEERS", _SHARED / "peers" / "trl_speed.py"))


def results_folder() -> Path:
    return _HERE / "results"


def report(name: str, whole: bool) -> Report:
    """The report of a benchmark run as a program; only a whole run replaces the results that are kept."""
    return Report(name, sys.stdout, sys.stderr, results_folder() if whole else None)
