"""Label Studio under the same load: started in an environment of its own, timed by the script that times it everywhere."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import peers_script

ITEMS = 20_000
"""What its script imports unless told otherwise."""

_HOME = Path.home() / ".cache" / "heed-peers" / "label-studio"
_PATIENCE = 240.0


@dataclass(frozen=True)
class Measured:
    """What the script printed of each load, by the number of raters; or why there is nothing."""

    loads: dict[int, dict[str, Any]] = field(default_factory=dict)
    missing: str = ""


def script() -> Path:
    """``$HEED_LABEL_STUDIO_LOAD``, or ``label_studio_load.py`` beside the script that times the other peers."""
    return Path(os.environ.get("HEED_LABEL_STUDIO_LOAD", peers_script().with_name("label_studio_load.py")))


def measure() -> Measured:
    """Start Label Studio, put the load on it, and stop it."""
    program, load = _HOME / "bin" / "label-studio", script()
    if not load.is_file():
        return Measured(missing=f"its script is not at {load}; set HEED_LABEL_STUDIO_LOAD")
    if not program.is_file():
        return Measured(missing=f"no environment at {_HOME}: pip install label-studio==1.23.2 into one")
    token, port = secrets.token_hex(20), _free_port()
    with tempfile.TemporaryDirectory(prefix="label-studio-") as folder:
        command = [str(program), "start", "--no-browser", "--port", str(port), "--data-dir", folder]
        command += ["--username", "rater@example.org", "--password", secrets.token_hex(12), "--user-token", token]
        environment = os.environ | {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "LATEST_VERSION_CHECK": "false"}
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            if not _answers(port, server):
                return Measured(missing=f"it did not start within {_PATIENCE:.0f} s")
            python = str(program.with_name("python"))
            done = subprocess.run(
                [python, str(load), f"http://127.0.0.1:{port}", token, str(ITEMS)], capture_output=True, text=True
            )
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    loads = {line["raters"]: line for line in lines if line["what"] == "load"}
    if not {1, 50} <= set(loads):
        return Measured(missing=f"its script failed: {done.stderr.strip().splitlines()[-1:]}")
    return Measured(loads)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
        else:
            return True
    return False
