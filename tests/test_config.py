"""Settings: documented, written with comments and read back, wrong ones named with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from heed.config import (
    LARGEST_SEED,
    EvaluateSettings,
    PolicySettings,
    ProjectSettings,
    RewardSettings,
    SamplingSettings,
    SFTSettings,
    commented_yaml,
    load_settings,
    parse_settings,
)
from heed.constraint_settings import ConstraintSettings
from heed.errors import ConfigError
from heed.rater_settings import BEHAVIOURS, RatersSettings, SimulatedRaterSettings
from heed.settings import Settings

MINIMAL = {"name": "mine", "model": "some/model"}
SECTIONS = [SamplingSettings, SFTSettings, RewardSettings, PolicySettings, EvaluateSettings, RatersSettings]
CLASSES = [ProjectSettings, SimulatedRaterSettings, ConstraintSettings, *SECTIONS]
_UNITS = re.compile(r"\((count|seconds|tokens|probability|nats|reward|utility|standard)|norm|nats a|count\)|%|units\)")


def fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    yield from model.model_fields.items()


@pytest.mark.parametrize("model", CLASSES)
def test_every_field_says_what_it_is_and_every_number_its_unit(model: type[Settings]) -> None:
    unitless = {"seed", "learning_rate", "value_learning_rate", "weight_decay", "temperature", "gamma", "gae_lambda"}
    unitless |= {"clip_ratio", "value_coefficient", "top_p", "top_k", "warmup_fraction", "test_fraction"}
    unitless |= {"validation_fraction", "length_drift"}  # shares, factors and pure numbers: the words say which
    for name, field in fields(model):
        assert field.description, name
        assert len(field.description) > 8, name
        assert not field.description.endswith("."), name
        number = field.annotation in (int, float) or {int, float} & set(get_args(field.annotation))
        if number and name not in unitless:
            assert _UNITS.search(field.description), (name, field.description)


# What may stand in heed.yaml, awkward words among it.

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)
AWKWARD = st.sampled_from(
    ["null", "yes", "1e3", "- x", "a: b", "#no", "'", '"', "…", "\n", "\t", "{}", "~", " x ", "0"]
)
NAMES = (WORDS | AWKWARD).filter(lambda name: bool(name.strip()) and name.isprintable())


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


RATER = st.builds(
    SimulatedRaterSettings,
    name=NAMES,
    behaviour=st.sampled_from([one for one in BEHAVIOURS if one != "teacher"]),
    group=NAMES,
    noise=st.none() | numbers(0, 1e6),
)
CONSTRAINT = st.builds(
    ConstraintSettings,
    name=NAMES,
    kind=st.just("words"),
    weight=numbers(0, 1e6),
    least=st.integers(0, 10),
    most=st.none() | st.integers(10, 10**12),
) | st.builds(
    ConstraintSettings,
    name=NAMES,
    kind=st.just("personal_data"),
    find=st.none() | st.lists(st.just("card"), max_size=2),
)
SETTINGS = st.builds(
    ProjectSettings,
    name=WORDS | AWKWARD,
    model=WORDS | AWKWARD,
    seed=st.integers(0, LARGEST_SEED),
    sampling=st.builds(
        SamplingSettings,
        prompts=st.integers(1, 10**12),
        temperature=st.just(0.0) | numbers(1e-4, 1e9),
        top_p=numbers(1e-9, 1),
        stop=st.lists(WORDS | AWKWARD, max_size=3),
    ),
    sft=st.builds(SFTSettings, learning_rate=numbers(0, 1e38), epochs=numbers(1e-300, 10)),
    reward=st.builds(RewardSettings, members=st.integers(1, 9), ties=st.sampled_from(["graded", "half"])),
    policy=st.builds(
        PolicySettings,
        whiten_advantages=st.booleans(),
        kl_coefficient=numbers(1e-9, 10),
        constraints=st.lists(CONSTRAINT, max_size=3, unique_by=lambda constraint: constraint.name),
    ),
    raters=st.builds(
        RatersSettings,
        kind=st.sampled_from(["human", "simulated"]),
        simulated=st.lists(RATER, max_size=3),
        held_out=st.lists(RATER, max_size=2),
        guidelines=WORDS | AWKWARD,
    ),
)


@given(SETTINGS)
def test_what_is_written_with_comments_reads_back_as_it_was(settings: ProjectSettings) -> None:
    written = commented_yaml(settings)
    assert parse_settings(ProjectSettings, yaml.safe_load(written), "it") == settings


def test_every_field_stands_in_the_file_with_its_meaning_and_default() -> None:
    written = commented_yaml(ProjectSettings(**MINIMAL))
    for model in [ProjectSettings, *SECTIONS]:
        for name, field in fields(model):
            assert f"# {field.description}" in written, name
            assert re.search(rf"^ *{name}:", written, re.MULTILINE), name
    assert "# seed of everything random; default 0" in written
    assert yaml.safe_load(written)["policy"]["clip_value"] == 0.2


def nearly(name: str) -> str:
    """A name as a hurried hand writes it."""
    return name + name[-1]


def places() -> Iterator[tuple[list[str], str]]:
    """Every key of every section, by the path to it."""
    for name, field in fields(ProjectSettings):
        yield [], name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (([name], inner) for inner in field.annotation.model_fields)
    yield from ((["raters", "simulated", "0"], name) for name in SimulatedRaterSettings.model_fields)
    yield from ((["policy", "constraints", "0"], name) for name in ConstraintSettings.model_fields)


@pytest.mark.parametrize(("path", "name"), list(places()), ids=lambda part: ".".join(part) if part else "")
def test_an_unknown_key_at_any_depth_is_refused_with_the_nearest(path: list[str], name: str) -> None:
    values: dict[str, Any] = dict(MINIMAL)
    inner: Any = values
    for part in path:
        if part == "simulated":
            inner[part] = [{"name": "ann"}]
            inner = inner[part][0]
        elif part == "constraints":
            inner[part] = [{"name": "short", "kind": "words", "most": 3}]
            inner = inner[part][0]
        elif part != "0":
            inner = inner.setdefault(part, {})
    inner[nearly(name)] = 1
    with pytest.raises(ConfigError) as caught:
        parse_settings(ProjectSettings, values, "heed.yaml")
    assert f"unknown key '{'.'.join([*path, nearly(name)])}'" in caught.value.what
    assert caught.value.fix == f"Did you mean '{name}'?"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"top_p": 0.9}, "not samples of the policy"),
        ({"top_k": 5}, "not samples of the policy"),
        ({"kl_control": "adaptive", "kl_coefficient": 0.0}, "stays 0 for ever"),
        ({"kl_control": "adaptive", "kl_horizon": 12, "prompts_per_step": 32}, "too short"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"gamma": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_policy_run_that_could_not_be_right_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(PolicySettings, values, "heed.yaml")
    assert reason in caught.value.why


def test_the_horizon_is_refused_where_the_controller_could_turn_negative() -> None:
    """Ziegler et al. 2019, section 2.2: a factor of 1 + error * episodes / horizon, the error clipped to 0.2 either way."""
    episodes = 64
    for horizon in (10, 12, 13, 20):
        values = {"kl_control": "adaptive", "kl_horizon": horizon, "prompts_per_step": 32, "samples_per_prompt": 2}
        lowest_factor = 1 - 0.2 * episodes / horizon
        if lowest_factor <= 0:
            with pytest.raises(ConfigError, match="kl_horizon"):
                parse_settings(PolicySettings, values, "heed.yaml")
        else:
            assert parse_settings(PolicySettings, values, "heed.yaml").kl_horizon == horizon


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name: caf\xe9\n", "is not UTF-8"),
        (b"name: [\n", "is not YAML"),
        (b"- a\n", "not a mapping"),
        (b"", "not a mapping"),
        (b"name: x\n", "'model' is missing"),
        (b"name: x\nmodel: y\nseed: -1\n", "'seed' is -1"),
        (b"name: x\nmodel: y\nsampling: 3\n", "'sampling' is 3: it is a section"),
        (
            b"name: x\nmodel: y\nraters:\n  simulated:\n    - {name: a, behaviour: rude}\n",
            "'raters.simulated.0.behaviour'",
        ),
        (b"!!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_a_file_that_will_not_do_is_named_with_the_reason(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "heed.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "heed.yaml")
    assert told in str(caught.value)
    assert str(tmp_path / "heed.yaml") in caught.value.what
    assert caught.value.fix


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="heed init"):
        load_settings(tmp_path / "heed.yaml")


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
def test_line_breaks_that_only_yaml_knows_are_kept(sign: str, tmp_path: Path) -> None:
    settings = ProjectSettings(name="n", model="m", raters=RatersSettings(guidelines=f"a{sign}b"))
    file = tmp_path / "heed.yaml"
    file.write_text(commented_yaml(settings), encoding="utf-8")
    assert load_settings(file) == settings


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('stop: ["a\\udcff"]', "unable to parse raw data as a unicode string"),
        ('guidelines: "a\\udcffb"', "character 1 is a lone surrogate"),
        ('guidelines: "a\\0b"', "NUL"),
        ("temperature: 1.0e-30", "no probabilities to draw from"),
        ("learning_rate: 1.0e+300", "where the numbers of a model end"),
        ("rows_per_batch: 99999999999999", "more than any machine does"),
        ('simulated: [{name: "a\\tb"}]', "cannot be printed"),
        (f"simulated: [{{name: {'x' * 201}}}]", "201 characters"),
        ("held_out: [{name: a, group: ' '}]", "the name is empty"),
    ],
)
def test_values_that_could_not_be_kept_or_computed_with_are_named(content: str, told: str) -> None:
    key = content.split(":")[0]
    section = next(m for m in (SamplingSettings, SFTSettings, RatersSettings) if key in m.model_fields)
    with pytest.raises(ConfigError, match=key) as caught:
        parse_settings(section, yaml.safe_load(content), "heed.yaml")
    assert told in caught.value.why


def test_a_large_value_is_not_told_in_full() -> None:
    for value in ("x" * 10**7, [["x" * 10**6] * 1000], {"k" * 10**6: 1}):
        with pytest.raises(ConfigError) as caught:
            parse_settings(SamplingSettings, {"prompts": value}, "heed.yaml")
        assert "'prompts' is" in caught.value.what
        assert len(str(caught.value)) < 500
    with pytest.raises(ConfigError, match="Did you mean") as caught:
        parse_settings(SamplingSettings, {"prompts" + "x" * 10**6: 1}, "heed.yaml")
    assert len(str(caught.value)) < 500
