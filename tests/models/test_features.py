"""Frozen features: against transformers' own forward pass, and a cache that a kill cannot tear."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_training
from heed.errors import DataError
from heed.models import features as module
from heed.models.features import FeatureCache, Features, FrozenFeatures
from tiny_models import LETTERS, encoder_model, letter_tokenizer, tiny_policy, wordpiece_tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = wordpiece_tokenizer()
    encoder_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder")
    tiny_policy("llama-grouped").save(folder)
    return folder


def texts_of(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 20))) for _ in range(count)]


def test_an_encoder_is_pooled_as_sentence_transformers_does(encoder: Path) -> None:
    """The mean over all tokens, the special ones too, of a padded batch by its attention mask."""
    frozen, texts = FrozenFeatures.load(encoder), texts_of(9)
    batch = frozen.reader.tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None].float()
    with torch.no_grad():
        backbone: Any = frozen.body.module
        states = backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    expected = (states * mask).sum(1) / mask.sum(1)
    found = frozen.of(["ignored"] * 9, texts)
    assert found.vectors == pytest.approx(expected.numpy(), abs=1e-5)
    assert found.vectors.dtype == np.float32
    assert not found.cut.any()


def test_a_decoder_is_pooled_over_the_completion_behind_its_prompt(decoder: Path) -> None:
    frozen, tokenizer = FrozenFeatures.load(decoder), letter_tokenizer()
    prompt, whole = tokenizer("abc")["input_ids"], tokenizer("abcponm")["input_ids"] + [16]
    with torch.no_grad():
        backbone: Any = frozen.body.module
        states = backbone(torch.tensor([whole])).last_hidden_state[0, len(prompt) :]
    assert frozen.of(["abc"], ["ponm"]).vectors[0] == pytest.approx(states.mean(0).numpy(), abs=1e-5)
    other = frozen.of(["ddd"], ["ponm"]).vectors[0]
    assert np.abs(other - states.mean(0).numpy()).max() > 1e-3


def test_what_is_cut_is_said_and_what_cannot_be_read_in_context_is_refused(encoder: Path, decoder: Path) -> None:
    alone = FrozenFeatures.load(encoder)
    found = alone.of(["", ""], ["ab", "a " * 500])
    assert found.cut.tolist() == [False, True]
    limit = alone.reader.context - 2
    assert found.vectors[1] == pytest.approx(alone.of([""], ["a " * limit]).vectors[0], abs=1e-5)
    with pytest.raises(DataError, match="cannot be scored"):
        FrozenFeatures.load(decoder).of(["a"], ["b" * 500])
    cut = FrozenFeatures.load(decoder, reads="alone").of([""], ["b" * 500])
    assert cut.cut.tolist() == [True]


@settings(max_examples=12)
@given(st.lists(st.sampled_from(texts_of(12)), min_size=1, max_size=30), st.integers(1, 8))
def test_the_cache_gives_every_text_its_own_features(
    encoder: Path, tmp_path_factory: pytest.TempPathFactory, texts: list[str], at_once: int
) -> None:
    frozen, root = FrozenFeatures.load(encoder), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TEXTS_AT_ONCE", at_once)
        first = frozen.of(texts, texts, frozen.cache(root, "it"))
    plain = frozen.of(texts, texts)
    assert first.vectors == pytest.approx(plain.vectors, abs=1e-5)
    again = frozen.of(texts[::-1], texts[::-1], frozen.cache(root, "it"))
    assert (again.vectors == first.vectors[::-1]).all()


def test_what_is_there_is_not_computed_again_and_each_backbone_has_its_own(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, texts = FrozenFeatures.load(encoder), texts_of(20)
    before = frozen.of(texts, texts, frozen.cache(tmp_path, "it")).vectors
    computed: list[int] = []
    original = FrozenFeatures._compute

    def counted(self: FrozenFeatures, rows: Any) -> Features:
        computed.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(FrozenFeatures, "_compute", counted)
    known = frozen.of(texts, texts, frozen.cache(tmp_path, "it"))
    assert (known.vectors == before).all()
    assert computed == []
    frozen.of([*texts, "abab"], [*texts, "abab"], frozen.cache(tmp_path, "it"))
    assert computed == [1]
    frozen.of(texts, texts, frozen.cache(tmp_path, "another"))
    assert sum(computed) == 1 + len(set(texts))


def _fill(source: Path, root: Path, kill_after: int) -> None:
    """Fill a cache in a process that is killed without warning after so many writes."""
    module._TEXTS_AT_ONCE = 7

    def progress(done: int, total: int) -> None:
        if done // 7 == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    frozen, texts = FrozenFeatures.load(source), texts_of(40)
    frozen.of(texts, texts, frozen.cache(root, "it"), progress)


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_cache_whose_making_was_killed_goes_on_to_the_very_same_numbers(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_after: int
) -> None:
    process = tiny_training.start(_fill, encoder, tmp_path / "killed", kill_after)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.setattr(module, "_TEXTS_AT_ONCE", 7)
    frozen, texts = FrozenFeatures.load(encoder), texts_of(40)
    left = frozen.cache(tmp_path / "killed", "it")
    assert len(list(left.folder.glob("*.safetensors"))) == kill_after
    resumed = frozen.of(texts, texts, left)
    whole = frozen.of(texts, texts, frozen.cache(tmp_path / "whole", "it"))
    assert (resumed.vectors == whole.vectors).all()


def test_a_damaged_file_is_computed_anew(encoder: Path, tmp_path: Path) -> None:
    frozen, texts = FrozenFeatures.load(encoder), texts_of(8)
    cache = frozen.cache(tmp_path, "it")
    good = frozen.of(texts, texts, cache).vectors
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    again = frozen.cache(tmp_path, "it")
    assert (frozen.of(texts, texts, again).vectors == good).all()
    assert (frozen.of(texts, texts, frozen.cache(tmp_path, "it")).vectors == good).all()


def test_nothing_but_safetensors_is_written(encoder: Path, tmp_path: Path) -> None:
    frozen = FrozenFeatures.load(encoder)
    frozen.of(["", ""], ["ab", "cd"], frozen.cache(tmp_path, "it"))
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".safetensors"}
    empty = FeatureCache(tmp_path / "none", ["x"]).read([])
    assert empty.vectors.shape == (0, 0)
