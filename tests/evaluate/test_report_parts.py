import html
import re
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.evaluate.report_charts import number, ticks
from heed.evaluate.report_page import marked_differences, show_seconds


def test_differences_by_hand():
    before, after = marked_differences("The parcel is  late, sorry.", "The red parcel is late!")
    assert before == "The parcel is  late<del>, sorry.</del>"
    assert after == "The <ins>red</ins> parcel is late<ins>!</ins>"
    assert marked_differences("same text", "same text") == ("same text", "same text")
    assert marked_differences("", "new") == ("", "<ins>new</ins>")
    assert marked_differences("我们去", "我去") == ("我<del>们</del>去", "我去")


@given(st.text(st.sampled_from("ab<& \n我é,"), max_size=30), st.text(st.sampled_from("ab<& \n我é,"), max_size=30))
@settings(max_examples=200, deadline=None)
def test_differences_lose_nothing(before, after):
    left, right = marked_differences(before, after)
    for marked, text, element in ((left, before, "del"), (right, after, "ins")):
        assert html.unescape(re.sub(f"</?{element}>", "", marked)) == text
    same = [re.sub(r"<(del|ins)>.*?</\1>", "", m, flags=re.DOTALL).split() for m in (left, right)]
    assert "".join(same[0]) == "".join(same[1])


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_meet_wcag_aa_in_light_and_dark():
    css = resources.files("heed.evaluate").joinpath("templates/report.css").read_text(encoding="utf-8")
    found = re.findall(r"--(\w+): (#[0-9a-f]{6});", css)
    assert len(found) == 22
    for colours in (dict(found[:11]), dict(found[11:])):
        for text in ("ink", "muted", "a", "warn"):
            for ground in ("paper", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for mark in ("del", "ins"):
            assert contrast(colours["ink"], colours[mark]) >= 4.5
        for drawn in ("a", "b", "muted"):
            assert contrast(colours[drawn], colours["paper"]) >= 3


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.03, 2.1), (1e-7, 3e-7), (99.5, 100.5), (0, 60), (-1e9, 1e9), (3.7, 4.3)]
)
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 11
    assert low - 1e-9 * (high - low) <= found[0] < found[-1] <= high + 1e-9 * (high - low)
    mantissa = (found[1] - found[0]) / 10 ** np.floor(np.log10((found[1] - found[0]) * (1 + 1e-9)))
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-6


def test_numbers_as_people_read_them():
    shown = [number(v) for v in (0, 3.0, -0.7143, 1234567.8, 0.00294, 12.345, 99.95, 1e-9)]
    assert shown == ["0", "3", "−0.714", "1,234,568", "0.00294", "12.3", "100.0", "1e−09"]


def test_durations():
    assert show_seconds(61.25) == '<data value="61.25">61.2 s</data>'
    assert show_seconds(190.4) == '<data value="190.4">3 min 10 s</data>'
    assert show_seconds(9000.0) == '<data value="9000.0">2 h 30 min</data>'
