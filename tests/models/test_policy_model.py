"""Policies from folders: loading, refusals, and the way from texts to tokens and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from heed.errors import DataError, ModelError
from heed.feedback.kinds import Message
from heed.models import policy as policy_module
from heed.models.batch import TokenBatch
from heed.models.policy import Continuations, Policy, token_scores
from tiny_models import END, LETTERS, byte_policy, byte_tokenizer, causal_model, letter_tokenizer, ragged, tiny_policy

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
BYTES = byte_policy()
BEGINS = byte_policy(begin=True)


@pytest.mark.parametrize("name", ["llama", "llama-tied", "gpt2", "qwen3", "gpt_neox"])
def test_save_and_load_are_exact(name: str, tmp_path: Path) -> None:
    policy = tiny_policy(name)
    policy.save(tmp_path / "model")
    assert not list((tmp_path / "model").glob("*.bin")), "weights are safetensors"
    again = Policy.load(tmp_path / "model")
    batch = TokenBatch.of(ragged([3, 8], 17))
    with torch.no_grad():
        assert torch.equal(policy.logits(policy.body.hidden(batch)), again.logits(again.body.hidden(batch)))
    assert (again.end_ids, again.context, again.body.fast) == (policy.end_ids, policy.context, policy.body.fast)
    assert again.encode_prompt("abc") == [0, 1, 2]


def test_dropout_is_off_in_whatever_state_the_model_comes() -> None:
    model = causal_model("gpt2", 17, attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5).train()
    policy = Policy.of(model, letter_tokenizer())
    batch = TokenBatch.of([[1, 2, 3]])
    assert torch.equal(policy.body.hidden(batch), policy.body.hidden(batch))


def test_several_ends_come_from_the_generation_settings_and_the_tokenizer() -> None:
    model = causal_model("llama", 17)
    model.generation_config.eos_token_id = [3, 5]
    policy = Policy.of(model, letter_tokenizer())
    assert policy.end_ids == {3, 5, 16}
    assert policy.end_id == 16


def test_no_tokenizer_is_said(tmp_path: Path) -> None:
    causal_model("llama", 17).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no tokenizer"):
        Policy.load(tmp_path)


def test_no_such_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at .*nowhere: the folder does not exist"):
        Policy.load(tmp_path / "nowhere")


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load the model"):
        Policy.load(tmp_path)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    causal_model("llama", 12).save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="token ids up to 16, but the model has 12 embeddings"):
        Policy.load(tmp_path)


def test_a_model_padded_to_more_embeddings_than_tokens_is_fine() -> None:
    assert Policy.of(causal_model("llama", 64), letter_tokenizer()).end_ids == {16}


def test_no_end_token_is_refused() -> None:
    tokenizer = letter_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        Policy.of(causal_model("llama", 17), tokenizer)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    policy = tiny_policy()
    policy.save(tmp_path)
    torch.save(policy.model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load the model"):
        Policy.load(tmp_path)


def test_torn_weights_are_said(tmp_path: Path) -> None:
    tiny_policy().save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelError, match="cannot load the model"):
        Policy.load(tmp_path)


def test_an_unknown_architecture_is_said(tmp_path: Path) -> None:
    tiny_policy().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "perceptron", "architectures": ["X"]}))
    with pytest.raises(ModelError, match=r"cannot load the model.*"):
        Policy.load(tmp_path)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    """transformers draws what it does not find at random: a model that looks whole and says nothing."""
    policy = tiny_policy()
    policy.save(tmp_path)
    policy.model.base_model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks 1 of its weights.*lm_head"):
        Policy.load(tmp_path)
    policy.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 9}))
    with pytest.raises(ModelError, match=r"its weights.*layers\.2\."):
        Policy.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"hidden_size": -1}),
        ("config.json", {"num_attention_heads": 0}),
        ("config.json", {"vocab_size": "many"}),
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}),
        ("tokenizer.json", None),
        ("tokenizer_config.json", []),
        ("generation_config.json", []),
        ("config.json", None),
    ],
)
def test_files_that_hold_something_else_are_said_whatever_they_do_to_transformers(
    tmp_path: Path, file: str, change: Any
) -> None:
    tiny_policy().save(tmp_path)
    whole = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(whole | change if isinstance(change, dict) else change))
    with pytest.raises(ModelError, match=r"cannot load the (model|tokenizer)") as caught:
        Policy.load(tmp_path)
    assert len(str(caught.value)) < 1000
    assert "\n" not in caught.value.why


def test_ends_that_are_no_tokens_are_passed_over(tmp_path: Path) -> None:
    tiny_policy().save(tmp_path)
    for odd in ("x", 99_999, -1, [], [99_999, None]):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": odd}))
        policy = Policy.load(tmp_path)
        assert policy.end_ids == {policy.tokenizer.eos_token_id}


def test_code_beside_the_weights_is_neither_run_nor_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_policy().save(tmp_path)
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\n")
    asked = []
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "y")
    for file, which in (
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.C", None]}),
        ("config.json", {"AutoConfig": "evil.C"}),
    ):
        text = (tmp_path / file).read_text()
        kind = {"model_type": "evil"} if file == "config.json" else {"tokenizer_class": "Evil"}
        (tmp_path / file).write_text(json.dumps(json.loads(text) | kind | {"auto_map": which}))
        with pytest.raises(ModelError, match="cannot load"):
            Policy.load(tmp_path)
        (tmp_path / file).write_text(text)
    assert not asked
    assert not ran.exists()


def test_an_empty_prompt_is_refused_where_no_token_is_made_of_it() -> None:
    with pytest.raises(DataError, match="empty prompt: ''"):
        BYTES.encode_prompt("")
    with pytest.raises(DataError, match="empty prompt: 'ZZ'"):
        tiny_policy().encode_prompt("ZZ")  # it knows none of these letters
    assert BEGINS.encode_prompt("") == [BEGINS.tokenizer.bos_token_id]


def test_messages_need_a_chat_template() -> None:
    talk = (Message(role="user", content="hi"),)
    with pytest.raises(ModelError, match="no chat template"):
        BYTES.encode_prompt(talk)


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no system, please') }}", "{{ 1 / 0 }}", "{{ a.b.c }}", "{% if"]
)
def test_a_template_that_refuses_a_conversation_is_said(template: str) -> None:
    policy = byte_policy()
    policy.tokenizer.chat_template = template
    talk = (Message(role="system", content="be kind"), Message(role="user", content="hi"))
    with pytest.raises(DataError, match="a conversation of system, user: the chat template of llama refuses it"):
        policy.encode_prompt(talk)


@pytest.mark.parametrize("begin", [False, True])
def test_messages_are_written_by_the_template_without_a_second_start_token(begin: bool) -> None:
    policy = byte_policy(begin=begin)
    policy.tokenizer.chat_template = ("<begin>" if begin else "") + TEMPLATE
    talk = (Message(role="system", content="be kind"), Message(role="user", content="hi"))
    ids = policy.encode_prompt(talk)
    bare = policy.tokenizer("<system>be kind<user>hi<assistant>", add_special_tokens=False)["input_ids"]
    assert ids == ([policy.tokenizer.bos_token_id] if begin else []) + bare
    assert policy.decode(ids, policy.encode_completion(talk, " hello")) == " hello"


def test_completions_are_tokenised_as_they_continue_the_prompt() -> None:
    """'a' and 'b' would merge over the seam: then the prompt keeps its tokens and the completion has its own."""
    tokenizer = byte_tokenizer(merges=(("a", "b"), ("b", "b")))
    policy = Policy.of(causal_model("llama", len(tokenizer)), tokenizer)
    assert len(tokenizer("ab")["input_ids"]) == 1
    seam = policy.encode_completion("xa", "bb")
    assert seam == [*tokenizer("bb")["input_ids"], policy.end_id]
    assert policy.decode(policy.encode_prompt("xa"), seam) == "bb"


def test_a_start_token_is_not_repeated_in_the_completion() -> None:
    ids = BEGINS.encode_completion("ab", "cd")
    assert BEGINS.tokenizer.bos_token_id not in ids
    assert ids[-1] == BEGINS.end_id


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_texts_survive_the_way_to_tokens_and_back(prompt: str, completion: str) -> None:
    for policy in (BYTES, BEGINS):
        ids = policy.encode_completion(prompt, completion)
        assert ids[-1] == policy.end_id
        assert policy.decode(policy.encode_prompt(prompt), ids) == completion
        assert policy.encode_completion(prompt, completion, end=False) == ids[:-1]


def test_an_end_written_out_in_the_text_is_not_doubled() -> None:
    assert BYTES.encode_completion("a", f"bc{END}") == BYTES.encode_completion("a", "bc")


def test_a_character_cut_in_two_by_the_prompts_end_leaves_no_special_token_in_the_text() -> None:
    sign = BYTES.tokenizer("好")["input_ids"]
    text = BYTES.decode(sign[:1], [*sign[1:], *BYTES.tokenizer("x")["input_ids"], BYTES.end_id])
    assert END not in text
    assert text.endswith("x")


def test_continuations_lay_out_what_predicts_what() -> None:
    laid = Continuations.of([[1, 2], [3]], [[4, 5, 6], [7]])
    assert laid.batch.ids.tolist() == [1, 2, 4, 5, 3]
    assert laid.batch.ids[laid.predictors].tolist() == [2, 4, 5, 3]
    assert laid.targets.tolist() == [4, 5, 6, 7]
    assert laid.grid(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [[1, 2, 3], [4, 0, 0]]


def test_large_vocabularies_in_pieces_give_the_same_scores_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy("llama-tied")
    laid = Continuations.of(ragged([3, 5], 17), ragged([6, 11], 17))
    results = []
    for at_once in (1 << 25, 17 * 4):
        monkeypatch.setattr(policy_module, "_LOGITS_AT_ONCE", at_once)
        scores = token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets, 0.8, True)
        assert scores.entropy is not None
        (scores.logprobs.sum() + scores.entropy.square().sum()).backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
        policy.model.zero_grad()
        results.append((scores.logprobs.detach(), scores.entropy.detach(), gradient))
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, atol=2e-5, rtol=1e-4)


def test_half_precision_loads_and_scores(tmp_path: Path) -> None:
    tiny_policy("llama-grouped").save(tmp_path)
    policy = Policy.load(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in policy.parameters()} == {torch.bfloat16}
    laid = Continuations.of([[1, 2, 3]], [[4, 5, 16]])
    with torch.no_grad():
        half = token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs
        exact = Policy.load(tmp_path)
        full = token_scores(exact, exact.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs
    assert half.dtype == torch.float32, "log-probabilities are taken in float32"
    torch.testing.assert_close(half, full, atol=0.1, rtol=0.05)


def test_letters_are_what_the_helper_says() -> None:
    assert tiny_policy().decode([0], [1, 2, 15, 16]) == f"bc{LETTERS[-1]}"


@pytest.mark.parametrize("named", ["pytorch.bin", "../outside.safetensors", "/etc/x.safetensors"])
def test_an_index_that_names_other_than_safetensors_of_the_folder_is_refused(tmp_path: Path, named: str) -> None:
    tiny_policy().save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    names = list(load_file(weights))
    torch.save(load_file(weights), tmp_path / "model" / "pytorch.bin")
    weights.rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, named)}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="only safetensors files of the folder"):
        Policy.load(tmp_path / "model")
