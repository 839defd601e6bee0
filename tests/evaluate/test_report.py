import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from heed.errors import ProjectError
from heed.evaluate.compare import reward_against_kl, undefined_win_rate, win_rates
from heed.evaluate.metrics import accuracy, calibration, kl_summary, text_statistics
from heed.evaluate.report import (
    Alarm,
    Example,
    MeanChange,
    RaterSource,
    ReportData,
    RunSource,
    TrainingPoint,
    render,
    write,
)
from heed.evaluate.report_page import marked_differences
from heed.evaluate.verdict import verdict
from heed.feedback.kinds import Message
from heed.statistics import Undefined, mean_interval

VOID = {"meta", "br", "line", "circle", "path", "polyline", "col"}
SCRIPT = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Elements with their attributes, text by element, and whether every element that opens closes."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.data, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.data.append([dict(attrs)["value"], ""])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "data":
            self.data[-1][1] += text
        if "style" not in self.open:
            self.texts.append(text)

    @property
    def text(self):
        return "".join(self.texts)

    def tags(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def example(text="Thank you, order 48213 is on its way.", **changes):
    return Example(
        **{
            "prompt": (Message(role="user", content="Where is order 48213?"),),
            "before": "Your order is somewhere.",
            "after": text,
            "before_scores": {"reward": -0.5},
            "after_scores": {"reward": 1.25},
        }
        | changes
    )


def report(**changes):
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in range(60)]
    y, after, before = (rng.random(60) < 0.8).astype(float), rng.integers(5, 30, 60), rng.integers(5, 30, 60)
    rate = win_rates(y, after, before, ids)
    d = rng.normal(0, 2, 60)
    mean = mean_interval(d, ids)
    training = [
        TrainingPoint(
            step=i + 1, reward=i / 7, kl=i / 3, entropy=2 - i / 30, length=20.5, proxy=i / 5 if i % 5 == 0 else None
        )
        for i in range(30)
    ]
    values = {
        "project": "desk",
        "policy": "policy-1",
        "reference": "sft-1",
        "verdict": verdict(rate, rate, rate),
        "alarms": [Alarm(kind="entropy_floor", message="Entropy fell below 0.1 nats.", step=12)],
        "true_win_rate": rate,
        "judged_win_rate": rate,
        "proxy_win_rate": rate,
        "true_utility": MeanChange(reference=mean, policy=mean, difference=mean),
        "kl": kl_summary(rng.normal(9, 3, 60), after, ids),
        "reference_texts": text_statistics(["a b c d", "a b e f g"], [4, 5], [True, False]),
        "policy_texts": text_statistics(["a b c d", "a b c e"], [4, 4], [True, True]),
        "labels": 1234,
        "tokens": 1_234_567,
        "seconds": {"reward": 10.26, "policy": 140.5, "total": 150.76},
        "peak_memory_mib": 812.3,
        "held_out_accuracy": accuracy(d, y, ids),
        "calibration": calibration(d, y, ids, bins=4),
        "training": training,
        "reward_against_kl": reward_against_kl([0, 9], [0.0, 9.0], [0.1, 2.0], d, [1.0, 1.5], d),
        "examples": [example()],
        "runs": [RunSource(id="policy-1", stage="policy")],
        "raters": [RaterSource(name="ada", kind="human", labels=1234, used_for="training")],
        "seed": 3,
        "code_version": "heed 0.1.0",
        "created": datetime(2026, 1, 31, 12, tzinfo=UTC),
    }
    return ReportData(**values | changes)


def bare():
    nothing = Undefined(reason="this run has none.")
    no_rate = undefined_win_rate("nobody judged.")
    no_texts = text_statistics([], [])
    return report(
        verdict=verdict(no_rate, no_rate, no_rate),
        **dict.fromkeys(("true_win_rate", "judged_win_rate", "proxy_win_rate"), no_rate),
        **dict.fromkeys(
            ("true_utility", "kl", "held_out_accuracy", "calibration", "training", "reward_against_kl"), nothing
        ),
        reference_texts=no_texts,
        policy_texts=no_texts,
        alarms=[],
        examples=[],
        runs=[],
        raters=[],
    )


def numbers_of(value):
    if isinstance(value, dict):
        return {n for v in value.values() for n in numbers_of(v)}
    if isinstance(value, list):
        return {n for v in value for n in numbers_of(v)}
    return {value} if isinstance(value, int | float) else set()


def test_json_reads_back_to_the_same_report():
    data = report()
    text = data.model_dump_json()
    assert ReportData.model_validate_json(text) == data
    keys = json.loads(text)
    for name in ("true_win_rate", "judged_win_rate", "proxy_win_rate"):
        assert {"estimate", "low", "high", "prompts", "length_controlled"} <= keys[name].keys()
    assert keys["kl_nats"] == keys["kl"]["per_completion"]["estimate"]
    assert keys["distinct_2_ratio"] == pytest.approx((4 / 6) / (6 / 7))
    assert keys["reward_accuracy"] == keys["held_out_accuracy"]["clustered"]["estimate"]
    assert (keys["labels"], keys["seconds"]["total"], keys["seed"]) == (1234, 150.76, 3)


def test_the_report_needs_no_torch():
    code = "import sys, heed.evaluate.report_page, heed.evaluate.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_keys_and_a_missing_total_are_refused():
    with pytest.raises(ValidationError, match="seed_"):
        report(seed_=1)
    with pytest.raises(ValidationError, match="'total' is missing"):
        report(seconds={"reward": 1.0})


def models(model):
    yield model
    for field in model.model_fields.values():
        stack = [field.annotation]
        while stack:
            annotation = stack.pop()
            stack += getattr(annotation, "__args__", ())
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from models(annotation)


def test_every_key_is_described():
    ours = {m for m in models(ReportData) if m.__module__.startswith("heed.evaluate")}
    assert len(ours) > 12
    for model in ours:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
        for name, computed in model.model_computed_fields.items():
            assert computed.description, f"{model.__name__}.{name}"


def test_every_number_of_the_page_is_one_of_the_json():
    data = report()
    known = numbers_of(json.loads(data.model_dump_json()))
    page = Page(render(data))
    assert len(page.data) > 200
    assert {float(value) for value, _ in page.data} <= {float(n) for n in known}


def test_the_win_rates_stand_in_their_rows_as_people_read_them():
    data = report(judged_win_rate=undefined_win_rate("nobody judged."))
    html = render(data)
    for name in ("true_win_rate", "proxy_win_rate"):
        rate = getattr(data, name)
        row = Page(re.search(rf'<tr role="row" id="{name}">.*?</tr>', html, re.DOTALL)[0])
        equal = rate.length_controlled
        shares = [rate.estimate, rate.low, rate.high, equal.estimate, equal.low, equal.high]
        assert [float(value) for value, _ in row.data[:6]] == shares
        assert [text.removesuffix(" %") for _, text in row.data[:6]] == [f"{100 * share:.1f}" for share in shares]
        places = [float(a["x"].removesuffix("%")) for a in row.tags("svg") if "x" in a]
        assert places == pytest.approx([100 * rate.estimate, 100 * equal.estimate], abs=0.005)
    assert "nobody judged." in re.search(r'id="judged_win_rate">.*?</tr>', html, re.DOTALL)[0]


def test_the_verdict_comes_first():
    data = report()
    page = Page(render(data))
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    for before, after in pairwise(headings):
        assert int(after[1]) <= int(before[1]) + 1
    text = page.text.replace("\u00a0", " ")
    order = [data.verdict.sentence, "Entropy fell below", "Win rate against", "What it cost", "Training", "Before and"]
    at = [text.index(part) for part in [*order, "Where this comes from"]]
    assert at == sorted(at)


def test_the_page_is_self_contained_and_has_no_script():
    page = Page(render(report()))
    assert not {"script", "link", "iframe", "img", "object", "base", "form"} & {tag for tag, _ in page.elements}
    for _, attrs in page.elements:
        assert not {"src", "href", "style_src"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
    policy = next(a["content"] for a in page.tags("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "url(" not in render(report())
    assert len(render(report())) < 200_000


def test_charts_have_text_alternatives_and_ids_are_unique():
    page = Page(render(report()))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    images = [a for a in page.tags("svg") if a.get("role") == "img"]
    assert len(images) == 7  # five training curves, reward against KL, reliability
    for image in images:
        assert set(image["aria-labelledby"].split()) <= set(ids)
    for _, attrs in page.elements:
        assert attrs.get("aria-labelledby", ids[0]).split()[0] in ids
    for svg in page.tags("svg"):
        assert svg.get("role") == "img" or svg.get("aria-hidden") == "true" or "x" in svg
    assert all("scope" in th for th in page.tags("th"))


HOSTILE = [
    SCRIPT,
    "</p></article></main></body></html>",
    "<img src=x onerror=alert(1)>",
    "<style>*{display:none}</style>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "<!-- <![CDATA[ ]]>",
    "&lt;b&gt; &amp;",
    "😀 我们为您查询订单。 نأسف للتأخير",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_everywhere(text):
    tame = Page(render(report()))
    data = report(
        project=text,
        policy=text,
        reference=text,
        alarms=[Alarm(kind="k", message=text, step=1)],
        seconds={text: 1.0, "policy": 2.0, "total": 3.0},
        examples=[
            example(text, before="", prompt=text, before_scores={text: 1.0}, after_scores={}),
            example(text, before=text, prompt=(Message(role="system", content=text),)),
        ],
        examples_note=text,
        runs=[RunSource(id=text, stage=text)],
        raters=[RaterSource(name=text, kind="human", labels=1, used_for="training")],
        code_version=text,
    )
    page = Page(render(data))
    assert page.text.count(text) >= 14
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in tame.elements} | {"ins", "del"}
    for _, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")]


def test_control_and_bidirectional_characters_are_shown_not_obeyed():
    text = Page(render(report(examples=[example("a\x07b\x1b[31m \u202egnp.exe\u2066 c\r\nd")]))).text
    assert "a␇b␛[31m [U+202E]gnp.exe[U+2066] c\nd" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)


def test_long_texts_are_cut_and_counted():
    long = "word " * 100_000
    data = report(examples=[example(long, before="x" * 5000)])
    html = render(data)
    assert f"{500_000 - 2000 + 3000:,} characters are not shown here" in html
    assert len(html) < 300_000
    assert json.loads(data.model_dump_json())["examples"][0]["after"] == long


def test_long_texts_of_few_words_are_still_compared():
    left, right = marked_differences("a b " * 500, "a b " * 499 + "c")
    assert (left, right) == ("a b " * 499 + "<del>a b</del> ", "a b " * 499 + "<ins>c</ins>")
    Page(render(report(examples=[example("a b " * 5000, before="b b a " * 5000)])))


def test_what_is_missing_is_named_with_its_reason():
    data = bare()
    page = Page(render(data))
    assert page.text.count("nobody judged.") >= 4
    assert page.text.count("this run has none.") >= 6
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()
    keys = json.loads(data.model_dump_json())
    assert keys["kl_nats"] == {"reason": "this run has none."}
    assert keys["true_win_rate"]["estimate"] is None
    assert ReportData.model_validate_json(data.model_dump_json()) == data


def test_the_same_data_gives_the_same_page():
    assert render(report()) == render(report())


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0], [0.0, 0.0], [1e12, 1e12 + 1], [-5e-9, 5e-9]])
def test_flat_and_extreme_curves_still_draw(values):
    points = [TrainingPoint(step=i, reward=v, kl=v, entropy=v, length=v) for i, v in enumerate(values)]
    html = render(report(training=points))
    Page(html)
    assert "nan" not in re.findall(r'points="([^"]*)"', html)[0]


def test_write_puts_both_files_and_leaves_nothing_else(tmp_path):
    data = report()
    folder = tmp_path / "new" / "demo"
    paths = write(data, folder)
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "report.json"]
    assert paths[1].read_text(encoding="utf-8") == render(data)
    assert ReportData.model_validate_json(paths[0].read_bytes()) == data
    assert paths[0].stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch):
    write(report(), tmp_path)
    old = (tmp_path / "report.json").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ProjectError, match="No space left"):
        write(report(seed=9), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(ProjectError, match="demo"):
        write(report(), tmp_path / "demo")
