"""What the command line, a file and a project say of a policy's settings together, for one algorithm or another."""

from __future__ import annotations

from pathlib import Path

import pytest

from heed.config import PolicySettings
from heed.errors import ConfigError
from heed.terminal.policy import _parted, _taken_over
from tiny_project import completed

OF_PPO = PolicySettings(kl_coefficient=0.06, minibatches=4, entropy_coefficient=0.01, staleness=None)


def file_of(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return file


def told(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_the_penalty_in_spreads_is_told_where_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    assert _taken_over(OF_PPO, "grpo", (), None).kl_coefficient == pytest.approx(0.18)
    assert "grpo takes kl_coefficient 0.18 (not 0.06)" in told(capsys)
    assert _taken_over(OF_PPO, "grpo", ["kl_coefficient=0.02"], None).kl_coefficient == 0.02
    assert told(capsys) == ""
    assert _taken_over(OF_PPO, None, ["kl_coefficient=0.02"], None).algorithm == "ppo"
    assert told(capsys) == ""


@pytest.mark.parametrize("section", ["", "policy:\n  "])
def test_a_file_for_another_algorithm_is_taken_over_and_one_for_this_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str
) -> None:
    lines = ["algorithm: ppo", "minibatches: 2", "kl_coefficient: 0.1"]
    of_ppo = file_of(tmp_path, section + ("\n  " if section else "\n").join(lines))
    for name in ("rloo", "trpo", "online_dpo", "dqn"):
        assert _taken_over(OF_PPO, name, (), of_ppo).algorithm == name
    assert "rloo takes minibatches 1 (not 2)" in told(capsys)
    assert _taken_over(OF_PPO, "grpo", (), of_ppo).kl_coefficient == pytest.approx(0.3)
    assert "kl_coefficient 0.3 (not 0.1)" in told(capsys)
    of_grpo = file_of(tmp_path, of_ppo.read_text().replace("ppo", "grpo"))
    for named in ("grpo", None):
        assert _taken_over(OF_PPO, named, (), of_grpo).kl_coefficient == 0.1
    assert "kl_coefficient" not in told(capsys)


def test_what_set_says_is_never_changed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--set"):
        _taken_over(OF_PPO, "rloo", ["minibatches=2"], None)
    with pytest.raises(ConfigError, match="Write --algorithm NAME"):
        _taken_over(OF_PPO, "rloo", ["algorithm=ppo"], None)


@pytest.mark.parametrize("option", [["--fresh"], ["--round", "2"]])
@pytest.mark.parametrize("stage", ["policy", "reward", "sft"])
def test_what_is_about_a_project_s_runs_is_refused_on_files(tmp_path: Path, stage: str, option: list[str]) -> None:
    if (stage, option[0]) == ("sft", "--round"):
        return
    more = ["--reward", "r", "--prompts", "p"] if stage == "policy" else ["--data", "d"]
    done = completed(tmp_path, "train", stage, "--model", "m", *more, "--out", "o", *option)
    assert done.returncode == 2
    assert f"on files with {option[0]}" in " ".join(done.stderr.split())


def test_raters_are_a_reward_in_a_project_alone(tmp_path: Path) -> None:
    done = completed(tmp_path, "train", "policy", "--model", "m", "--reward", "raters", "--prompts", "p", "--out", "o")
    assert done.returncode == 2
    assert "--set reward=raters" in done.stderr


def test_a_misspelt_setting_of_deep_q_learning_is_one_of_its_section() -> None:
    of_dqn, others = _parted(["dqn.anchord=false", "n_step=3", "steps=2"])
    assert (of_dqn, others) == (["dqn.anchord=false", "n_step=3"], ["steps=2"])
