"""What a server does about garbage, and what it does not load before somebody needs it."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from heed.memory import starting


def test_what_was_loaded_to_begin_with_is_never_looked_through_again():
    thresholds = gc.get_threshold()
    try:
        with starting():
            assert not gc.isenabled()
            kept = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_threshold()[0] > thresholds[0]
        assert gc.get_freeze_count() >= len(kept)
        assert not any(one is kept for one in gc.get_objects())
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def test_a_server_starts_without_what_only_some_pages_need():
    program = "import sys, heed.web.server, heed.web.routes as r; r.all_routes(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "fastapi" in loaded
    assert not {"torch", "transformers", "numpy", "alembic", "httpx", "latex2mathml"} & set(loaded)


def test_the_first_page_waits_for_no_surface_but_its_own():
    program = "import sys, heed.web.server, heed.web.routes as r; r.first_routes(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "heed.web.account.entry_routes" in loaded
    assert not {f"heed.web.{surface}.routes" for surface in ("studio", "account", "board", "exchange")} & set(loaded)


def test_a_program_looks_rarely_while_it_loads_and_as_usual_once_it_works():
    program = """
import gc
usual = gc.get_threshold()
import heed.memory as memory
memory.look_as_usual()
assert gc.get_freeze_count() == 0  # not a program of heed's own: whoever imports it keeps what is theirs
memory.look_rarely()
assert gc.get_threshold()[0] > 10 * usual[0]
from heed.stages.results import prepare_machine
prepare_machine("cpu")
assert gc.get_threshold() == usual
assert gc.get_freeze_count() > 100_000
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_a_function_of_the_user_has_written_is_written_out_when_the_program_ends(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "log = open('log.txt', 'w')\ndef score(prompt, text):\n    log.write('scored')\n    return 1.0\n",
        encoding="utf-8",
    )
    program = """
from heed.memory import look_rarely
look_rarely()
import torch
from heed.raters.utilities import utility_by_name
from heed.stages.results import prepare_machine
score = utility_by_name("mine:score")
prepare_machine("cpu")
score("", "")
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "scored"
