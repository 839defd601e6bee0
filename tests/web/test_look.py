"""The colours keep the contrasts of WCAG 2.2 AA in both themes, and what needs a style is a class, never an attribute."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import heed

WEB = Path(heed.__file__).parent / "web"
TOKENS = (WEB / "static" / "tokens.css").read_text()
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", TOKENS)
}

TEXT = [
    (ink, ground)
    for ground in ("paper", "card", "sunken")
    for ink in ("ink", "muted", "accent", "accent-strong", "good", "warn", "bad", "a", "b")
] + [
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-bad", "bad"),
    ("accent-strong", "accent-soft"),
    ("accent", "accent-soft"),
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("bad", "bad-soft"),
    *[("ink", ground) for ground in ("accent-soft", "good-soft", "warn-soft", "bad-soft", "del", "ins", "mark")],
    *[("muted", ground) for ground in ("accent-soft", "good-soft", "warn-soft", "bad-soft")],
    *[(f"code-{kind}", "sunken") for kind in ("keyword", "name", "string", "number", "comment")],
]
"""Pairs of a text's colour and its ground: at least 4.5 to 1."""

EDGES = [(line, ground) for line in ("edge", "focus", "accent") for ground in ("paper", "card", "sunken")]
"""Borders of what can be used, and the ring around what has the focus: at least 3 to 1."""


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_the_guidelines_say() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_and_edges_stand_out_from_their_ground(theme: int) -> None:
    faint = [
        f"{one} on {ground}: {measured:.2f}, needs {needed}"
        for pairs, needed in ((TEXT, 4.5), (EDGES, 3.0))
        for one, ground in pairs
        if (measured := contrast(COLOURS[one][theme], COLOURS[ground][theme])) < needed
    ]
    assert not faint


def test_stylesheets_load_nothing_from_elsewhere() -> None:
    for sheet in (WEB / "static").rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(?!data:)[a-z]+:", sheet.read_text()), sheet


def test_pages_carry_no_style_and_no_script_inside_them() -> None:
    """The Content-Security-Policy would refuse both, and the page would look or act otherwise than meant."""
    found = [
        f"{template.name}: {match[0]}"
        for template in (WEB / "templates").rglob("*.html")
        for match in re.finditer(
            r"<style|\sstyle=|\son[a-z]+=\"|javascript:|<script(?![^>]*(?:\ssrc=|type=\"application/json\"))",
            template.read_text(),
        )
    ]
    assert not found
