"""The documents as data: their fenced blocks, headings and links; and a shell that runs the blocks one after another.

What a fence's info string means:

- ``console``: lines with ``$`` are run in order and must succeed; the lines under each are its standard output, compared
  with everything that differs between machines made equal. A line ``...`` stands for any lines.
- ``console free``: run, must succeed and say something; a language model wrote the rest, so it is not compared.
- ``console error``: run, must fail; standard output and standard error are compared.
- ``console serve``: started, on a free port; the first link it prints must open, and Ctrl-C must end it well.
- ``jsonl NAME``, ``csv NAME``: written to the file NAME. ``yaml heed.yaml``: laid over the project's heed.yaml.
- ``python``: run; ``python NAME``: written to the file NAME and run, so that later blocks can import it.
- ``text``: for the eye only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)

_PROMPT = "$ "
_FAILED = 2  # heed's exit code of an error

# The same words on every machine; what stands for numbers, times, ids and outcomes is the same in both texts.
_SAME = (
    (re.compile(r"“[^”]*”"), "<text>"),
    (re.compile(r"(?<= {2})\S(?:(?! {2}).)*…"), "<cut>"),  # a cell of a table: where it is cut depends on its digits
    (re.compile(r"\b[cfp][0-9a-f]{16}\b"), "<id>"),
    (re.compile(r"(?<![\w.])/[\w./-]+"), "<path>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?"), "<time>"),
    (re.compile(r"\b(\d+ h )?(\d+ min )?\d+(\.\d+)? (s|min)\b"), "<duration>"),
    (re.compile(r"The policy is (better|worse) than its reference"), "<outcome>"),
    (re.compile(r"Whether the policy is better than its reference is not decided"), "<outcome>"),
    (re.compile(r"\d+(\.\d+)? % \((no interval: [^)]*|[^)]*)\)|undefined: .*"), "<rate>"),
    (re.compile(r"(?<![\w-])[+-]?\d[\d,.]*\d( [kM]\b)?|(?<![\w-])[+-]?\d( [kM]\b)?"), "<number>"),
    (re.compile(r", \d+ alarms?|, <number> alarms?"), ""),
    (re.compile(r"\b(a|b|tie|both bad) <number>(, (a|b|tie|both bad) <number>)*"), "<choices>"),
    (re.compile(r"[─━]+"), "─"),
    (re.compile(r"(?:^|(?<=\S))[ \t]{2,}"), " "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    line: int
    info: str
    body: str

    @property
    def steps(self) -> list[tuple[str, str]]:
        """(command, output under it) of a console block."""
        lines = self.body.splitlines(keepends=True)
        starts = [number for number, line in enumerate(lines) if line.startswith(_PROMPT)]
        assert starts[:1] == [0], f"{self.document}:{self.line}: a console block begins with a command"
        return [
            (lines[start].removeprefix(_PROMPT).rstrip("\n"), "".join(lines[start + 1 : end]))
            for start, end in pairwise([*starts, len(lines)])
        ]


def read(name: str) -> str:
    """The text of a document, by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """The fenced blocks of a document."""
    text = read(name)
    return [
        Block(name, text.count("\n", 0, found.start()) + 1, found["info"].strip(), found["body"])
        for found in _FENCE.finditer(text)
    ]


def prose(name: str) -> str:
    """A document without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", read(name)), flags=re.DOTALL)


def comparable(text: str) -> list[str]:
    """Lines of an output, without what differs between machines, runs and terminals."""
    for pattern, word in _SAME:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def agrees(shown: str, given: str) -> bool:
    """Whether an output is what a document shows."""
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n"
        for line in comparable(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in comparable(given))) is not None


@dataclass
class Shell:
    """Runs blocks in one folder after another; ``cd`` holds from block to block.

    Args:
        folder: where it starts.
        typed: what is on standard input of each command; nobody sits at the keyboard.
        variables: environment variables beside those of this process.
    """

    folder: Path
    typed: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, block: Block) -> None:
        """Do what a block says and check what came of it."""
        kind, _, rest = block.info.partition(" ")
        if kind == "console":
            for command, shown in block.steps:
                if rest == "serve":
                    self._serve(block, command)
                else:
                    self._step(block, command, shown, rest)
        elif kind in ("jsonl", "csv") and rest:
            (self.folder / rest).write_text(block.body, encoding="utf-8")
        elif kind == "yaml" and rest:
            self.overlay(self.folder / rest, yaml.safe_load(block.body))
        elif kind == "python":
            if rest:
                (self.folder / rest).write_text(block.body, encoding="utf-8")
            done = self._call([sys.executable, "-c", block.body])
            assert done.returncode == 0, f"{block.document}:{block.line}\n{done.stderr}"
        else:
            assert kind == "text", f"{block.document}:{block.line}: no test knows what to do with '{block.info}'"

    def _step(self, block: Block, command: str, shown: str, manner: str) -> None:
        where = f"{block.document}:{block.line}: $ {command}"
        if command.startswith("make "):
            planned = subprocess.run(
                [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert planned.returncode == 0, f"{where}\n{planned.stderr}"
            return
        place = self.folder / ".place"
        done = self._call(["bash", "-euo", "pipefail", "-c", f'{command}\npwd > "{place}"'])
        if place.exists():
            self.folder = Path(place.read_text().strip())
            place.unlink()
        given = done.stdout + (done.stderr if manner == "error" else "")
        assert done.returncode == (_FAILED if manner == "error" else 0), f"{where}\n{done.stdout}\n{done.stderr}"
        if manner == "free":
            assert given.strip() or command.startswith("cd "), where
        elif shown:
            assert agrees(shown, given), f"{where}\nshown:\n{shown}\ngiven:\n{given}"

    def _serve(self, block: Block, command: str) -> None:
        where = f"{block.document}:{block.line}: $ {command}"
        started = subprocess.Popen(
            [*command.split(), "--port", "0"],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert started.stdout is not None
        told = ""
        try:
            while not (links := re.findall(r"https?://\S+", told)):
                line = started.stdout.readline()
                assert line, f"{where}\n{told}"
                told += line
            with urllib.request.urlopen(links[0], timeout=30) as page:
                assert page.status == 200, where
        finally:
            started.send_signal(signal.SIGINT)
            rest, _ = started.communicate(timeout=60)
        assert started.returncode == 0, f"{where}\n{told}{rest}"

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PATH": path, **self.variables}

    def _call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            input=self.typed,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def overlay(self, path: Path, values: dict[str, object]) -> None:
        """Lay settings over those of a YAML file."""
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in values.items():
            settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
