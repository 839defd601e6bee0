"""Training adapters by each family: only they learn and stand in checkpoints, and the reference is the same weights without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from heed.cli import app
from heed.config import PolicySettings, PreferenceSettings, RewardSettings, SFTSettings, parse_settings
from heed.errors import ConfigError
from heed.loop import run_loop
from heed.losses.policy import kl_k3
from heed.models.adapters import adapt, trained_part, without_adapter
from heed.models.policy import Policy
from heed.project import Project
from heed.stages.data import FIRST, ComparisonRow
from heed.stages.merging import merge_adapter
from heed.stages.policy import train_policy
from heed.stages.preference import train_preferences
from heed.stages.reward import train_reward
from heed.stages.supervised import train_sft
from heed.train.checkpoint import Checkpoints
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.preferences import Text, text_logprobs
from heed.train.progress import Stopped, Watcher
from heed.train.rollout import completion_logprobs
from heed.tuning_settings import LoraSettings
from tiny_models import ragged, tiny_policy
from tiny_project import letters, make_project
from tiny_training import letter_share

LORA = LoraSettings(rank=4)
PROMPTS = [letters(n, 3) for n in range(16)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy("llama-grouped", initializer_range=0.05).save(folder)
    return folder


def trainer_on(name: str, **changes: Any) -> OnlineTrainer:
    """An online algorithm on an adapter of a random policy."""
    policy = tiny_policy(name, 1, initializer_range=0.08)
    adapt(policy, LORA, 3)
    small: dict[str, Any] = {"steps": 4, "prompts_per_step": 4, "samples_per_prompt": 2, "max_new_tokens": 6}
    small |= {"learning_rate": 1e-2, "missing_end_penalty": 0.0, "lora": LORA, "algorithm": "rloo", "warmup_steps": 0}
    prompts = [Prompt(str(ids), ids) for ids in ragged([3, 1, 5, 2, 4], 17)]
    settings = PolicySettings(**(small | changes))
    return OnlineTrainer(policy, without_adapter(policy), letter_share, prompts, settings, 0)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama-grouped", {}),
        ("gpt2", {"algorithm": "ppo", "value_model": "shared"}),
        ("llama", {"algorithm": "trpo", "value_model": "separate"}),
        ("opt", {"algorithm": "grpo"}),
    ],
)
def test_an_online_run_moves_the_adapter_and_leaves_the_reference(name: str, changes: dict[str, Any]) -> None:
    trainer = trainer_on(name, **changes)
    frozen = {n: p.clone() for n, p in trainer.policy.model.named_parameters() if not p.requires_grad}
    ids, tokens = [p.ids for p in trainer.prompts], [[1, 2, 3]] * len(trainer.prompts)
    before = completion_logprobs(trainer.reference, ids, tokens, 1.0, 64)
    start = trainer.roll_out(trainer.prompts, 1)
    assert float(kl_k3(start.logprobs, start.reference_logprobs).abs().max()) < 1e-10
    trainer.run()
    torch.testing.assert_close(completion_logprobs(trainer.reference, ids, tokens, 1.0, 64), before, atol=0, rtol=0)
    assert (completion_logprobs(trainer.policy, ids, tokens, 1.0, 64) - before).abs().max() > 0.01
    for key, value in trainer.policy.model.named_parameters():
        assert key not in frozen or torch.equal(value, frozen[key]), key
    own = {name for name in trainer.parameters if name.startswith("policy.")}
    assert own
    assert all("lora_" in name for name in own), "only adapters are in the optimiser and in checkpoints"


def test_a_stopped_run_goes_on_bit_for_bit_from_a_small_checkpoint(tmp_path: Path) -> None:
    class StopsAfter(Watcher):
        def advance(self, done: int, total: int, live: str) -> None:
            if done == 2:
                raise KeyboardInterrupt

    whole = trainer_on("llama-grouped")
    whole.run()
    checkpoints = Checkpoints(tmp_path / "checkpoints", "x")
    with pytest.raises((Stopped, KeyboardInterrupt)):
        trainer_on("llama-grouped", checkpoint_every=1).run(checkpoints, StopsAfter())
    saved = checkpoints.latest()
    assert saved is not None
    kept = sum(value.numel() for name, value in saved.tensors.items() if name.startswith("weight/"))
    assert kept == sum(p.numel() for p in trained_part(whole.policy.model).parameters())
    resumed = trainer_on("llama-grouped", checkpoint_every=1)
    resumed.run(checkpoints)
    pairs = zip(resumed.policy.parameters(), whole.policy.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_all_families_leave_an_adapter_that_has_learned(model: Path, tmp_path: Path) -> None:
    base = load_file(model / "model.safetensors")
    shown = [(prompt, "aab") for prompt in PROMPTS]
    quick: dict[str, Any] = {"lora": LORA, "epochs": 3, "prompts_per_step": 8, "learning_rate": 1e-2}
    tuned = train_sft(model, shown, tmp_path / "sft", SFTSettings(**quick))
    assert tuned.metrics["loss_after"] < tuned.metrics["loss_before"] - 0.3
    rows = [ComparisonRow(prompt, "aaa", "bcd", FIRST) for prompt in PROMPTS]
    preferred = train_preferences(model, rows, tmp_path / "dpo", "dpo", PreferenceSettings(**quick))
    assert preferred.metrics["gain"]["better"] > preferred.metrics["gain"]["worse"]
    settings = PolicySettings(
        lora=LORA, steps=6, prompts_per_step=8, max_new_tokens=6, learning_rate=1e-2, missing_end_penalty=0.0
    )
    # On top of the tuned adapter, which is the reference; the value model learns by an adapter of its own.
    improved = train_policy(
        tmp_path / "sft", lambda prompt, text: float(text.count("b")), PROMPTS, tmp_path / "policy", settings
    )
    history = improved.metrics["history"]
    assert abs(history[0]["kl"]) < 1e-3
    assert history[-1]["reward"] > history[0]["reward"]
    for run in (tuned, preferred, improved):
        assert not (run.folder / "model.safetensors").exists()
        assert Policy.load(run.folder).body.fast
    same = load_file(model / "model.safetensors")
    assert all(torch.equal(base[name], same[name]) for name in base)
    loaded = Policy.load(tmp_path / "dpo")
    start = Policy.load(model)
    texts = [Text(tuple(loaded.encode_prompt(p)), tuple(loaded.encode_completion(p, "aaa"))) for p in PROMPTS]
    assert (text_logprobs(loaded, texts, 512) > text_logprobs(start, texts, 512)).float().mean() > 0.9


@pytest.mark.slow
def test_actors_sample_with_the_adapter_of_each_update(model: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"steps": 3, "prompts_per_step": 4, "max_new_tokens": 4, "learning_rate": 1e-2}
    quick |= {"warmup_steps": 0, "lora": LORA, "algorithm": "a3c"}
    settings = PolicySettings(**quick)
    done = train_policy(model, lambda prompt, text: float(text.count("b")), PROMPTS, tmp_path / "out", settings)
    history = done.metrics["history"]
    assert history[-1]["staleness"] > 0
    assert abs(history[0]["kl"]) < 1e-3 < abs(history[-1]["kl"])


def test_merge_writes_a_whole_model_and_says_what_is_no_adapter(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": prompt, "completion": "aab"} for prompt in PROMPTS]
    Path("shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ["--set", "lora.rank=2", "--set", "lora.modules=[q_proj, v_proj]", "--set", "learning_rate=1e-2"]
    app(
        ["train", "sft", "--model", str(model), "--data", "shown.jsonl", "--out", "sft", *sets, "-q"],
        standalone_mode=False,
    )
    app(["merge", "sft", "--out", "whole"], standalone_mode=False)
    assert "whole model" in capsys.readouterr().out
    texts = [Text((1, 2), (0, 0, 1, 16))]
    whole = Policy.load("whole")
    assert not Path("whole/adapter_config.json").exists()
    torch.testing.assert_close(text_logprobs(whole, texts, 64), text_logprobs(Policy.load("sft"), texts, 64))
    assert text_logprobs(whole, texts, 64) > text_logprobs(Policy.load(model), texts, 64)
    with pytest.raises(Exception, match="is no adapter"):
        merge_adapter(model, "other")
    with pytest.raises(Exception, match=r"unknown key 'lora\.rnk'"):
        app(
            ["train", "sft", "--model", str(model), "--data", "shown.jsonl", "--out", "x", "--set", "lora.rnk=2"],
            standalone_mode=False,
        )


def test_a_project_goes_around_on_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_project(tmp_path)
    monkeypatch.chdir(place)
    with Project.open(place) as project:
        for section in (project.settings.sft, project.settings.policy):
            section.lora = LoraSettings(rank=2)
        run_loop(project, 1)
        tuned, policy = (project.artifact("model", run) for run in ("sft-1", "policy-1"))
        bases = [json.loads((folder / "adapter_config.json").read_text()) for folder in (tuned, policy)]
        assert [base["base_model_name_or_path"] for base in bases] == [str(tmp_path / "model"), str(tuned.resolve())]
        assert project.run("evaluate-1").state == "done"
    app(["merge", "policy-1", "--out", str(tmp_path / "whole")], standalone_mode=False)
    texts = [Text((1, 2), (0, 0, 1))]
    torch.testing.assert_close(
        text_logprobs(Policy.load(tmp_path / "whole"), texts, 64), text_logprobs(Policy.load(policy), texts, 64)
    )


def test_a_reward_model_learns_by_adapters_that_are_added_to_its_weights(model: Path, tmp_path: Path) -> None:
    rows = [ComparisonRow(letters(n, 3), "aab", "bcd", FIRST) for n in range(40)]
    settings = RewardSettings(lora=LoraSettings(rank=2), epochs=3, prompts_per_step=8, learning_rate=1e-2)
    done = train_reward(model, rows, tmp_path / "reward", settings)
    assert done.metrics["accuracy"]["clustered"]["estimate"] == 1.0
    before = load_file(model / "model.safetensors")
    after = load_file(tmp_path / "reward" / "member-0" / "model.safetensors")
    changes = {name: after[name] - before[f"model.{name}"] for name in after}
    moved = {name for name, change in changes.items() if change.abs().max() > 0}
    assert moved
    assert all("proj" in name for name in moved), "norms and embeddings stay as they were"
    ranks = [int((torch.linalg.svdvals(changes[name]) > 1e-4).sum()) for name in moved]
    assert max(ranks) == 2
    for values in ({"frozen": True}, {"backbone": "linear"}):
        with pytest.raises(ConfigError, match="adapters are for backbone: network"):
            parse_settings(RewardSettings, {"lora": {"rank": 2}, **values}, "--set")
