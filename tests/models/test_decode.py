"""Sampling: greedy against transformers.generate, draws against their distribution, ends, stops, seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from transformers import TopKLogitsWarper, TopPLogitsWarper

from heed.config import SamplingSettings
from heed.errors import DataError
from heed.models.batch import TokenBatch
from heed.models.decode import Samples, draw_tokens, sample, shaped_logits, stream
from heed.models.policy import Body, Continuations, Policy, token_scores
from heed.train.rollout import completion_logprobs
from tiny_models import FAST, GENERIC, byte_policy, ragged, tiny_policy

VOCABULARY = 17
policy_of = cache(tiny_policy)
bytes_of = cache(byte_policy)
PROMPTS = ragged([3, 11, 1, 6], VOCABULARY)


def drawn(policy: Policy, seed: int = 0, prompts: list[list[int]] | None = None, **changes: Any) -> Samples:
    wanted: dict[str, Any] = {"samples_per_prompt": 3, "max_new_tokens": 12} | changes
    return sample(policy, PROMPTS if prompts is None else prompts, SamplingSettings(**wanted), seed)


def ending_at(policy: Policy, *ends: int) -> Policy:
    """The same policy with other end tokens."""
    return replace(policy, end_ids=frozenset(ends))


@pytest.mark.parametrize("name", [*FAST, *GENERIC])
def test_greedy_equals_generate(name: str) -> None:
    """Token for token, with prompts of different lengths and two end tokens."""
    policy = ending_at(policy_of(name), 16, 4)
    ours = drawn(policy, temperature=0.0, samples_per_prompt=2)
    ids, mask = TokenBatch.of(PROMPTS).padded("left", fill=16)
    whole = policy.model.generate(
        ids, attention_mask=mask, do_sample=False, max_new_tokens=12, eos_token_id=[4, 16], pad_token_id=16
    )
    for row, generated in enumerate(whole[:, ids.shape[1] :].tolist()):
        ends = [i for i, token in enumerate(generated) if token in (4, 16)]
        expected = generated[: ends[0] + 1] if ends else generated
        for copy in (2 * row, 2 * row + 1):
            assert ours.tokens[copy] == expected
            assert ours.finished[copy] == bool(ends)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2"])
def test_greedy_equals_generate_on_long_prompts_beside_short_ones(name: str) -> None:
    """Rows of some 300 and of 2 tokens in one batch, where attention works piece by piece."""
    policy = tiny_policy(name, max_position_embeddings=512)
    prompts = ragged([300, 2, 257, 40], VOCABULARY, seed=4)
    ours = drawn(policy, prompts=prompts, temperature=0.0, samples_per_prompt=1)
    for prompt, tokens in zip(prompts, ours.tokens, strict=True):
        whole = policy.model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=16, pad_token_id=16
        )
        assert tokens == whole[0, len(prompt) :].tolist()
    samples = drawn(policy, prompts=prompts, samples_per_prompt=1)
    again = completion_logprobs(policy, prompts, samples.tokens, 1.0, 512)
    for row, logprobs in enumerate(samples.logprobs):
        assert logprobs == pytest.approx(again[row, : len(logprobs)].tolist(), abs=2e-5)


@pytest.mark.parametrize("name", [*FAST, "opt", "gemma2", "gemma3", "cohere"])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_on_the_way_equal_teacher_forced_ones(name: str, temperature: float) -> None:
    policy = policy_of(name)
    samples = drawn(policy, temperature=temperature)
    ids = [p for p in PROMPTS for _ in range(3)]
    again = completion_logprobs(policy, ids, samples.tokens, temperature, 64)
    for row, logprobs in enumerate(samples.logprobs):
        assert len(logprobs) == len(samples.tokens[row])
        assert logprobs == pytest.approx(again[row, : len(logprobs)].tolist(), abs=2e-5)
        assert not again[row, len(logprobs) :].any()


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "qwen3", "mistral"])
def test_fast_and_generic_path_draw_the_same(name: str) -> None:
    policy = policy_of(name)
    body = Body(policy.model.base_model)
    body.trunk, body.fast = None, False
    slow = replace(policy, body=body)
    for changes in ({}, {"top_k": 3}, {"top_p": 0.6, "temperature": 1.4}, {"stop": ["ab", "c"]}):
        ours, theirs = drawn(policy, 5, **changes), drawn(slow, 5, **changes)
        assert ours.tokens == theirs.tokens
        assert ours.finished == theirs.finished
        assert ours.texts == theirs.texts
        for mine, other in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert mine == pytest.approx(other, abs=2e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("name", ["llama", "opt"])
def test_draws_follow_the_softmax(name: str, temperature: float) -> None:
    """First and second token of 4,000 completions by a chi-square test against the model's exact probabilities."""
    policy = policy_of(name, 3, "abc", initializer_range=0.1)
    samples = drawn(
        policy, 1, [[0, 1]], samples_per_prompt=4000, max_new_tokens=2, temperature=temperature, rows_per_batch=4000
    )
    with torch.no_grad():
        first = policy.model(torch.tensor([[0, 1]])).logits[0, -1].double().div(temperature).softmax(-1)
        continued = policy.model(torch.tensor([[0, 1, t] for t in range(3)])).logits[:, -1].double()
    second = continued.div(temperature).softmax(-1)
    expected: dict[tuple[int, ...], float] = {(3,): float(first[3])} | {
        (a, b): float(first[a] * second[a, b]) for a in range(3) for b in range(4)
    }
    counts = dict.fromkeys(expected, 0)
    for tokens in samples.tokens:
        counts[tuple(tokens)] += 1
    assert stats.chisquare(list(counts.values()), [4000 * p for p in expected.values()]).pvalue > 1e-3


def test_the_samples_of_one_prompt_differ() -> None:
    samples = drawn(policy_of("llama"), samples_per_prompt=8)
    assert len({tuple(t) for t in samples.tokens[:8]}) > 1


LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


def kept_by_numpy(logits: list[float], temperature: float, top_k: int, top_p: float) -> set[int]:
    """Indices that survive, by the definitions: the k likeliest, then the smallest likeliest set of mass top_p."""
    x = np.array(logits, dtype=np.float64) / temperature
    order = np.argsort(-x, kind="stable")
    if top_k:
        order = order[:top_k]
    p = np.exp(x[order] - x.max())
    p /= p.sum()
    count = int(np.searchsorted(np.cumsum(p), top_p - 1e-12)) + 1 if top_p < 1 else len(order)
    return set(order[:count].tolist())


@settings(max_examples=200, deadline=None)
@given(
    LOGITS.filter(lambda x: min(np.diff(sorted(x))) > 1e-3), st.floats(0.3, 3), st.integers(0, 13), st.floats(0.05, 1)
)
def test_top_k_and_top_p_keep_the_right_tokens(
    logits: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    wanted = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    log_p = shaped_logits(torch.tensor([logits]), wanted)[0]
    kept = set(log_p.isfinite().nonzero()[:, 0].tolist())
    x = np.array(logits) / temperature
    mass = np.cumsum(np.sort(np.exp(x - x.max()))[::-1][: top_k or None])
    if np.abs(mass / mass[-1] - top_p).min() > 1e-5:  # else rounding decides about the token on the edge
        assert kept == kept_by_numpy(logits, temperature, top_k, top_p)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    inside = torch.tensor(sorted(kept))
    renormalised = (torch.tensor(logits)[inside] / temperature).log_softmax(-1)
    torch.testing.assert_close(log_p[inside], renormalised, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.99])
def test_top_p_and_top_k_equal_transformers(top_p: float) -> None:
    logits = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(2))
    ours = shaped_logits(logits, SamplingSettings(top_p=top_p, top_k=9)).isfinite()
    theirs = TopPLogitsWarper(top_p)(None, TopKLogitsWarper(9)(None, logits)).isfinite()
    assert torch.equal(ours, theirs)


@given(LOGITS, st.floats(0, 1, exclude_max=True), st.integers(0, 11))
def test_draws_are_quantiles_and_never_of_probability_zero(logits: list[float], u: float, masked: int) -> None:
    x = torch.tensor([logits])
    if masked < len(logits):
        x[0, masked] = -torch.inf
    log_p = x.log_softmax(-1)
    for uniform in (u, 0.0, float(np.nextafter(1.0, 0.0))):
        token = int(draw_tokens(log_p, torch.tensor([uniform], dtype=torch.float64))[0])
        mass = np.cumsum(np.exp(log_p[0].double().numpy()))
        assert token != masked
        assert (mass[token - 1] if token else 0.0) <= uniform * mass[-1] + 1e-12
        assert uniform * mass[-1] <= mass[token] + 1e-12


def test_same_seed_same_text_and_another_seed_another() -> None:
    policy = policy_of("llama")
    assert drawn(policy, 7) == drawn(policy, 7)
    assert drawn(policy, 7).tokens != drawn(policy, 8).tokens


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_memory_setting_does_not_change_the_draws(name: str) -> None:
    policy = policy_of(name)
    one = drawn(policy, 3, rows_per_batch=1)
    for rows in (5, 6, 100):
        assert drawn(policy, 3, rows_per_batch=rows).tokens == one.tokens


def test_rows_that_leave_early_leave_the_others_alone() -> None:
    """With many end tokens most rows leave soon; those that stay write what they write where nobody can leave."""
    policy = policy_of("llama-grouped")
    prompts = ragged([5] * 20 + [2, 9, 14], VOCABULARY, 4)
    leaving = drawn(ending_at(policy, 16, 3, 5, 9), 2, prompts, max_new_tokens=30)
    staying = drawn(ending_at(policy, 99), 2, prompts, max_new_tokens=30)
    lengths = {len(tokens) for tokens in leaving.tokens}
    assert len(lengths) > 5, "rows finish at different steps"
    for ended, whole in zip(leaving.tokens, staying.tokens, strict=True):
        assert ended == whole[: len(ended)]
        stops = [i for i, token in enumerate(whole) if token in (16, 3, 5, 9)]
        assert len(ended) == (stops[0] + 1 if stops else 30)


def test_each_end_token_ends() -> None:
    samples = drawn(ending_at(policy_of("llama"), 16, 2, 7), samples_per_prompt=20, max_new_tokens=40)
    last = {tokens[-1] for tokens, done in zip(samples.tokens, samples.finished, strict=True) if done}
    assert last == {16, 2, 7}
    for tokens, done in zip(samples.tokens, samples.finished, strict=True):
        assert done == (tokens[-1] in (16, 2, 7))
        assert not {16, 2, 7} & set(tokens[:-1])
        assert done or len(tokens) == 40


def test_token_count_and_progress() -> None:
    told: list[int] = []
    wanted = SamplingSettings(samples_per_prompt=3, max_new_tokens=5, rows_per_batch=6)
    samples = sample(policy_of("llama"), PROMPTS, wanted, 0, progress=told.append)
    assert told == [6, 6]
    assert samples.token_count == sum(len(t) for t in samples.tokens)
    assert len(samples.texts) == len(samples.tokens) == len(samples.finished) == 12


class _Scripted(nn.Module):
    """Output embeddings that force a script of tokens, whatever the hidden states are."""

    def __init__(self, script: list[int], vocabulary: int, width: int) -> None:
        super().__init__()
        self.script, self.step = script, 0
        self.weight = nn.Parameter(torch.zeros(vocabulary, width))

    @property
    def bias(self) -> torch.Tensor:
        forced = torch.full((self.weight.shape[0],), -100.0)
        forced[self.script[min(self.step, len(self.script) - 1)]] = 100.0
        self.step += 1
        return forced


def scripted(text: str) -> Policy:
    """A policy over bytes that writes ``text`` and then ends."""
    policy = byte_policy("llama", 1)
    ids = [*policy.tokenizer(text)["input_ids"], policy.end_id]
    policy.model.set_output_embeddings(_Scripted(ids, len(policy.tokenizer), 32))
    return policy


@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        ("END", "first part. "),
        (" part", "first"),
        ("first", ""),
        ("你好。再见", "first part. END "),
        ("👩‍🔬", "first part. END 你好。再见 "),
    ],
)
def test_stop_strings_span_tokens_and_are_cut_off(stop: str, kept: str) -> None:
    """Every byte is a token here, so a stop of a few signs spans up to 18 of them."""
    text = "first part. END 你好。再见 👩‍🔬 tail"
    policy = scripted(text)
    wanted = SamplingSettings(samples_per_prompt=1, max_new_tokens=60, temperature=0.0, stop=["never", stop])
    samples = sample(policy, [[70, 71]], wanted, 0)
    assert samples.texts == [kept]
    assert samples.finished == [True]
    assert len(samples.tokens[0]) == len((kept + stop).encode()), "nothing is written after the stop string"


def test_without_its_stop_string_a_text_runs_to_its_end() -> None:
    wanted = SamplingSettings(samples_per_prompt=1, max_new_tokens=60, temperature=0.0, stop=["zzz"])
    samples = sample(scripted("abc def"), [[70]], wanted, 0)
    assert (samples.texts, samples.finished, len(samples.tokens[0])) == (["abc def"], [True], 8)


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_a_stop_string_that_begins_in_the_prompt_is_none(name: str) -> None:
    policy = bytes_of(name)
    first = drawn(policy, 0, [[70, 71]], temperature=0.0, samples_per_prompt=1, max_new_tokens=8)
    prompt_text = policy.tokenizer.decode([70, 71])
    stop = prompt_text[-1] + first.texts[0][:1]
    again = drawn(policy, 0, [[70, 71]], temperature=0.0, samples_per_prompt=1, max_new_tokens=8, stop=[stop])
    assert stop not in first.texts[0]
    assert again.tokens == first.tokens


def test_a_models_own_generation_settings_do_not_bend_the_distribution() -> None:
    policy = tiny_policy("opt")
    before = drawn(policy, 4)
    policy.model.generation_config.update(repetition_penalty=3.0, min_new_tokens=9, no_repeat_ngram_size=1)
    assert drawn(policy, 4) == before
    assert policy.model.generation_config.repetition_penalty == 3.0, "the model keeps its own settings"


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2"])
def test_values_on_the_way_equal_values_afterwards(name: str) -> None:
    policy, head = policy_of(name), nn.Linear(32, 1)
    wanted = SamplingSettings(samples_per_prompt=3, max_new_tokens=12)
    samples = sample(policy, PROMPTS, wanted, 0, value_head=head)
    assert samples.values is not None
    laid = Continuations.of([p for p in PROMPTS for _ in range(3)], samples.tokens)
    with torch.no_grad():
        grid = laid.grid(head(policy.body.hidden(laid.batch, laid.predictors))[:, 0])
    for row, values in enumerate(samples.values):
        assert len(values) == len(samples.tokens[row])
        assert values == pytest.approx(grid[row, : len(values)].tolist(), abs=1e-5)
    assert drawn(policy, 0).tokens == samples.tokens, "values change no draw"


def test_entropy_of_the_distribution_is_the_closed_form() -> None:
    policy = policy_of("llama")
    laid = Continuations.of([[1, 2]], [[3, 4, 16]])
    with torch.no_grad():
        hidden = policy.body.hidden(laid.batch, laid.predictors)
        scores = token_scores(policy, hidden, laid.targets, 0.7, with_entropy=True)
        exact = torch.distributions.Categorical(logits=policy.model(torch.tensor([[1, 2, 3, 4]])).logits[0, 1:] / 0.7)
    assert scores.entropy is not None
    torch.testing.assert_close(scores.entropy, exact.entropy(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.logprobs, exact.log_prob(torch.tensor([3, 4, 16])), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_a_prompt_that_does_not_fit_the_context_is_refused(name: str) -> None:
    policy = tiny_policy(name, max_position_embeddings=20)
    assert len(drawn(policy, prompts=[[1] * 8], max_new_tokens=12).tokens) == 3
    with pytest.raises(DataError, match=r"prompt 2 has 9 tokens.*12 new tokens.*context of 20"):
        drawn(policy, prompts=[[1] * 8, [1] * 9], max_new_tokens=12)


def test_the_weights_of_the_moment_are_read() -> None:
    """Decoding joins weights once for speed; after an update the next call must see the new ones."""
    policy = tiny_policy("llama")
    before = drawn(policy, 1)
    with torch.no_grad():
        for parameter in policy.model.model.layers.parameters():
            parameter.mul_(-1.0)
    after = drawn(policy, 1)
    assert after.tokens != before.tokens
    ids = [p for p in PROMPTS for _ in range(3)]
    again = completion_logprobs(policy, ids, after.tokens, 1.0, 512)
    assert after.logprobs[0] == pytest.approx(again[0, : len(after.logprobs[0])].tolist(), abs=2e-5)


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_stream_writes_the_greedy_text_piece_by_piece(name: str) -> None:
    policy = bytes_of(name)
    whole = drawn(policy, 0, [[70, 71]], temperature=0.0, samples_per_prompt=1, max_new_tokens=16)
    wanted = SamplingSettings(temperature=0.0, max_new_tokens=16)
    assert "".join(stream(policy, [70, 71], wanted, 0)) == whole.texts[0]


def test_stream_never_shows_a_piece_of_a_stop_string_or_of_a_character() -> None:
    wanted = SamplingSettings(temperature=0.0, max_new_tokens=60, stop=["END"])
    pieces = list(stream(scripted("EN. 你好 ENEND tail"), [70], wanted, 0))
    assert "".join(pieces) == "EN. 你好 EN"
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "你" in pieces
