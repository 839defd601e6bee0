"""The base model's tokenizer, shape, texts and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heed.sandbox import lexicon, world
from heed.sandbox.grammar import corpus, customer_text, parse


@pytest.fixture(scope="module")
def tokens():
    return world.tokenizer()


@pytest.mark.parametrize("text", ["Order 437 belongs to Tom.", " two  spaces\n", "héllo 你好 🦊", "<|user", "a\tb\r\n"])
def test_any_text_round_trips(tokens, text):
    assert tokens.decode(tokens(text)["input_ids"]) == text


def test_the_vocabulary_is_full_and_about_one_token_a_word(tokens):
    rows = corpus(11, 1000)
    assert len(tokens) == world.VOCABULARY_SIZE
    count = sum(len(tokens(reply)["input_ids"]) for _, reply in rows)
    assert count / sum(len(reply.split()) for _, reply in rows) < 1.35  # signs included
    conversations = [tokens(text, add_special_tokens=False)["input_ids"] for text in world.pretraining_texts(11, 1000)]
    assert max(map(len, conversations)) <= world.CONTEXT_TOKENS // 2


def test_the_chat_template_renders_what_the_base_model_reads(tokens):
    for prompt, reply in corpus(2, 50):
        messages = [message.model_dump() for message in prompt]
        asked = tokens.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert asked == f"<|user|>{customer_text(prompt)}<|assistant|>"
        ids = tokens.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == tokens(asked)["input_ids"]
        assert tokens.eos_token_id not in ids
        text = world.conversation_text(prompt, reply)
        answered = [*messages, {"role": "assistant", "content": reply}]
        assert tokens.apply_chat_template(answered, tokenize=False) == text
        whole = tokens(text)["input_ids"]
        assert whole[: len(ids)] == ids, "the prompt's tokens are a prefix of the conversation's"
        assert whole[-1] == tokens.eos_token_id
        assert whole.count(tokens.eos_token_id) == 1
        assert tokens.decode(whole[len(ids) : -1]) == reply


def test_slots_that_a_reply_repeats_are_one_token_each(tokens):
    for word in (*lexicon.PRODUCTS, *lexicon.ORDERS):
        assert len(tokens(f" {word}")["input_ids"]) == 1, word


def test_special_tokens_are_single_and_apart(tokens):
    assert tokens.bos_token is None
    assert (
        len({tokens.eos_token_id, tokens.pad_token_id, *(tokens(f"<|{r}|>")["input_ids"][0] for r in world.ROLES)}) == 5
    )
    assert all(len(tokens(f"<|{role}|>")["input_ids"]) == 1 for role in world.ROLES)


def test_the_tokenizer_survives_a_save_and_is_the_same_in_another_process(tokens, tmp_path):
    from transformers import AutoTokenizer

    tokens.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = world.conversation_text(*corpus(4, 1)[0])
    assert loaded(text)["input_ids"] == tokens(text)["input_ids"]
    assert loaded.chat_template == tokens.chat_template
    script = "from heed.sandbox import world; print(world.tokenizer().backend_tokenizer.to_str())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(other)["model"] == json.loads(tokens.backend_tokenizer.to_str())["model"]


def test_the_model_has_about_a_million_parameters(tokens):
    config = world.model_config()
    hidden, layers, wide = config.hidden_size, config.num_hidden_layers, config.intermediate_size
    block = 4 * hidden * hidden + 3 * hidden * wide + 2 * hidden
    parameters = config.vocab_size * hidden + layers * block + hidden
    assert 0.8e6 < parameters < 1.2e6
    from transformers import LlamaForCausalLM

    assert LlamaForCausalLM(config).num_parameters() == parameters
    assert config.vocab_size == len(tokens)
    assert config.eos_token_id == tokens.eos_token_id


def test_the_recipe_hash_follows_the_training_settings():
    assert world.recipe_hash(steps=100, seed=0) == world.recipe_hash(seed=0, steps=100)
    assert world.recipe_hash(steps=100) != world.recipe_hash(steps=101)
    assert len(world.recipe_hash()) == 16


def test_the_cache_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HEED_CACHE", str(tmp_path))
    assert world.cache_folder() == tmp_path
    monkeypatch.delenv("HEED_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert world.cache_folder() == tmp_path / ".cache" / "heed"


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_project_files_hold_both_splits_and_demonstrations(tmp_path):
    world.write_project_files(tmp_path, seed=1, train=300, test=100, demonstrations=50)
    rows = _lines(tmp_path / "prompts.jsonl")
    assert [row["split"] for row in rows] == ["train"] * 300 + ["test"] * 100
    texts = [row["prompt"][0]["content"] for row in rows]
    assert len(set(texts)) == 400
    assert all(parse(text) for text in texts)
    shown = _lines(tmp_path / "demonstrations.jsonl")
    assert len(shown) == 50
    assert np.mean([len(row["completion"].split()) for row in shown]) > 8
    assert all(row["prompt"][0]["role"] == "user" for row in shown)


def test_the_world_needs_no_torch_until_it_is_asked_for_a_model():
    script = "import sys, heed.sandbox.world, heed.raters.simulated; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
