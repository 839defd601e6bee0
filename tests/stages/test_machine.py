"""In which numbers a machine trains, as it is measured and as a new project takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heed.config import load_settings
from heed.stages import machine
from heed.stages.machine import fastest, settings_for, training_rates
from heed.terminal import init
from tiny_models import tiny_policy


def test_what_is_measured_are_rates_of_both_kinds_of_numbers() -> None:
    rates = training_rates("cpu")
    assert set(rates) == {"float32", "bfloat16"}
    assert all(rate > 0 for rate in rates.values())


def test_bfloat16_is_taken_where_it_is_faster_by_more_than_a_trifle() -> None:
    assert fastest({"float32": 100.0, "bfloat16": 200.0}) == "bfloat16"
    assert fastest({"float32": 100.0, "bfloat16": 105.0}) == "float32"
    assert fastest({"float32": 100.0, "bfloat16": 50.0}) == "float32"


@pytest.mark.parametrize(
    ("units", "rates", "expected"),
    [
        (True, {"float32": 1.0, "bfloat16": 2.0}, "bfloat16"),
        (True, {"float32": 2.0, "bfloat16": 1.0}, "float32"),
        (False, None, "float32"),
    ],
)
def test_a_new_project_trains_in_what_its_machine_is_fastest_in(
    units: bool,
    rates: dict[machine.Dtype, float] | None,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(device: str) -> dict[machine.Dtype, float]:
        assert rates is not None, "a machine without units for bfloat16 is not measured"
        return rates

    monkeypatch.setattr(init, "may_have_bfloat16", lambda: units)
    monkeypatch.setattr(init, "training_rates", measured)
    tiny_policy("llama").save(tmp_path / "model")
    prompts = tmp_path / "asked.jsonl"
    prompts.write_text(json.dumps({"prompt": "Hello"}) + "\n", encoding="utf-8")
    told = init.init_from_files(tmp_path / "project", str(tmp_path / "model"), prompts, None)
    settings = load_settings(tmp_path / "project" / "heed.yaml")
    assert {settings.sft.dtype, settings.policy.dtype, settings.preference.dtype} == {expected}
    assert any(expected in line for line in told) == (expected == "bfloat16")
    assert (f"dtype: {expected}" in (tmp_path / "project" / "heed.yaml").read_text(encoding="utf-8")) or not rates


def test_only_sections_that_train_a_language_model_are_told() -> None:
    assert settings_for("float32") == {}
    assert set(settings_for("bfloat16")) == {"sft", "policy", "preference"}
