"""True utilities by the names that stand in heed.yaml: built in, or a user's own function, checked."""

from __future__ import annotations

import builtins
import sys

import pytest

from heed.errors import ConfigError, DataError
from heed.raters import utilities
from heed.raters.simulated import SimulatedRater
from heed.raters.utilities import utility_by_name
from heed.sandbox.utility import support_desk


def test_utilities_by_name():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    assert utility_by_name("support_desk") is support_desk
    score = utility_by_name("vader")
    for text in ("I love this wonderful day!", "This is a horrible, sad mess.", ""):
        assert score("ignored", text) == SentimentIntensityAnalyzer().polarity_scores(text)["compound"]


def test_vader_missing_names_the_command(monkeypatch):

    real = builtins.__import__

    def without_vader(name, *args, **kwargs):
        if name.startswith("vaderSentiment"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    utilities._vader_analyzer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_vader)
    with pytest.raises(ConfigError, match="pip install vaderSentiment"):
        utility_by_name("vader")


def test_a_users_function_is_found_in_the_current_folder_and_checked(tmp_path, monkeypatch):
    (tmp_path / "my_desk_utility.py").write_text(
        "def words(prompt, completion):\n    return len(completion.split())\n"
        "words.span = (0.0, 20.0)\n"
        "def broken(prompt, completion):\n    return float('nan')\n"
        "def wordy(prompt, completion):\n    return 'much'\n"
        "number = 3\n"
    )
    (tmp_path / "unfinished_utility.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    words = utility_by_name("my_desk_utility:words")
    assert words("p", "one two") == 2.0
    assert SimulatedRater("r", "careful", words, noise=0.0).rate("p", "w " * 20, "k") == 5.0
    with pytest.raises(DataError, match="nan"):
        utility_by_name("my_desk_utility:broken")("p", "x")
    with pytest.raises(DataError, match="much"):
        utility_by_name("my_desk_utility:wordy")("p", "x")
    for name in ("my_desk_utility:number", "my_desk_utility:nothing", "no_such_module_here:f", "unfinished_utility:f"):
        with pytest.raises(ConfigError):
            utility_by_name(name)
    assert sys.path == path


def test_a_users_code_that_fails_is_an_error_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "failing_utility.py").write_text(
        "def divides(prompt, completion):\n    return 1 / 0\n\n\ndef one(prompt):\n    return 1\n"
    )
    (tmp_path / "failing_import.py").write_text("value = 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"ZeroDivisionError: .*failing_utility.py, line 2"):
        utility_by_name("failing_utility:divides")("p", "x")
    with pytest.raises(DataError, match=r"TypeError: .*takes a prompt and a completion"):
        utility_by_name("failing_utility:one")("p", "x")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: .*failing_import.py, line 1"):
        utility_by_name("failing_import:value")


@pytest.mark.parametrize("name", ["", "happiness", "a:", ":b", ".a:b", "a b:c"])
def test_other_names_are_refused_with_the_choices(name):
    with pytest.raises(ConfigError, match="support_desk"):
        utility_by_name(name)
