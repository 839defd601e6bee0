"""Whom heed trusts, and what it learns from them: aggregates, rankings, raters, rewards from every kind, texts, selection.

    python benchmarks/trust.py [--only PART ...]

Every part is a file of its own, ``trust_PART.py``.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from common import report

PARTS = ("labels", "comparisons", "raters", "rewards", "texts", "diagnosis", "asking", "queue")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of: {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    rows = report("trust", whole=not arguments)
    for part in options.only or PARTS:
        import_module(f"trust_{part}").rows(rows)
    rows.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
