"""What is learned of a conversation, token by token, under chat templates of several families."""

from __future__ import annotations

import pytest
import torch

from heed.errors import DataError, ModelError
from heed.feedback.kinds import Message
from heed.models.conversations import Masked, encode_conversation, encode_shown
from heed.models.policy import Policy
from heed.stages import preview as stage
from heed.stages.preview import Looked, preview
from heed.train.supervised import CompletionTask
from tiny_models import END, byte_tokenizer, causal_model

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "<begin>{% for m in messages %}<|head|>{{ m.role }}<|/head|>\n\n{{ m.content | trim }}<|turn|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "<end>{% else %}{{ m.content }}{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
TRIMS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
FORGETS = (
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' and not loop.last %}...{% else %}{{ m.content }}"
    "{% endif %}<end>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
THINKS = TRIMS.replace("assistant: {% endif %}", "assistant: <think>{% endif %}")


def policy_with(template: str | None, ends: tuple[str, ...] = ()) -> Policy:
    tokenizer = byte_tokenizer(begin="<begin>" in (template or ""))
    special = ["<|im_start|>", "<|head|>", "<|/head|>", "<|turn|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.chat_template = template
    model = causal_model("llama", len(tokenizer), 0)
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids(end) for end in (END, *ends)]
    return Policy.of(model, tokenizer)


def talk(*said: str, system: str = "") -> tuple[Message, ...]:
    turns = [Message(role="user" if place % 2 == 0 else "assistant", content=text) for place, text in enumerate(said)]
    return (*([Message(role="system", content=system)] if system else []), *turns)


def pieces(policy: Policy, found: Masked) -> list[tuple[bool, str]]:
    """The conversation in runs of what is read and what is learned."""
    runs: list[tuple[bool, list[int]]] = []
    for token, own in zip(found.ids, found.learned, strict=True):
        if not runs or runs[-1][0] != own:
            runs.append((own, []))
        runs[-1][1].append(token)
    return [(own, policy.tokenizer.decode(ids, skip_special_tokens=False)) for own, ids in runs]


def test_chatml_like_every_turn_is_learned_up_to_its_end_token_and_not_the_line_break_behind() -> None:
    policy = policy_with(CHATML)
    found = encode_conversation(policy, talk("Hi", "Yo", "So", "No", system="Be"))
    assert pieces(policy, found) == [
        (False, "<|im_start|>system\nBe<end>\n<|im_start|>user\nHi<end>\n<|im_start|>assistant\n"),
        (True, "Yo<end>"),
        (False, "\n<|im_start|>user\nSo<end>\n<|im_start|>assistant\n"),
        (True, "No<end>"),
        (False, "\n"),
    ]
    assert [policy.tokenizer.decode([i]) for i, own in zip(found.ids, found.learned, strict=True) if own] == [
        *("Y", "o", END),
        *("N", "o", END),
    ]


def test_llama_like_the_end_of_a_turn_is_learned_though_it_is_not_the_tokenizers_own_end() -> None:
    policy = policy_with(HEADERS, ends=("<|turn|>",))
    found = encode_conversation(policy, talk(" Hi ", " Yo ", "So", "No"))
    assert pieces(policy, found) == [
        (False, "<begin><|head|>user<|/head|>\n\nHi<|turn|><|head|>assistant<|/head|>\n\n"),
        (True, "Yo<|turn|>"),
        (False, "<|head|>user<|/head|>\n\nSo<|turn|><|head|>assistant<|/head|>\n\n"),
        (True, "No<|turn|>"),
    ]
    assert found.ids.count(policy.tokenizer.bos_token_id) == 1


def test_where_generation_is_marked_the_marks_decide_and_the_end_token_behind_them_is_learned() -> None:
    policy = policy_with(MARKED)
    found = encode_conversation(policy, talk("Hi", "Yo", "So", "No"))
    assert pieces(policy, found) == [
        (False, "[user]Hi\n[assistant]"),
        (True, "Yo<end>"),
        (False, "\n[user]So\n[assistant]"),
        (True, "No<end>"),
        (False, "\n"),
    ]
    derived = encode_conversation(
        policy_with(MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")),
        talk("Hi", "Yo", "So", "No"),
    )
    assert derived == found


def test_marks_win_over_what_would_be_derived() -> None:
    """Only the second word is marked: the rest of each turn is read."""
    template = MARKED.replace(
        "{% generation %}{{ m.content }}{% endgeneration %}",
        "{{ m.content.split()[0] }} {% generation %}{{ m.content.split()[1] }}{% endgeneration %}",
    )
    policy = policy_with(template)
    found = encode_conversation(policy, talk("Hi", "well yes"))
    assert pieces(policy, found) == [(False, "[user]Hi\n[assistant]well "), (True, "yes<end>"), (False, "\n")]
    nothing = policy_with(MARKED.replace("== 'assistant'", "== 'nobody'"))
    with pytest.raises(DataError, match="none around these turns"):
        encode_conversation(nothing, talk("Hi", "Yo"))


def test_a_template_without_end_tokens_gets_one_after_the_last_turn() -> None:
    policy = policy_with(TRIMS)
    found = encode_conversation(policy, talk(" Hi", "  Yo ", "So", "No  "))
    assert pieces(policy, found) == [
        (False, "user: Hi\nassistant: "),
        (True, "Yo\n"),
        (False, "user: So\nassistant: "),
        (True, "No\n<end>"),
    ]


def test_a_refused_system_message_and_templates_that_do_not_tell_the_turns_apart_are_errors() -> None:
    refuses = policy_with(NO_SYSTEM)
    assert encode_conversation(refuses, talk("a", "b")).taught == 2
    with pytest.raises(DataError, match="System role not supported"):
        encode_conversation(refuses, talk("a", "b", system="Be"))
    forgets = policy_with(FORGETS)
    assert pieces(forgets, encode_conversation(forgets, talk("a", "b")))[1] == (True, "b<end>")
    with pytest.raises(DataError, match=r"otherwise once more turns follow, '\.\.\.<end>user: c"):
        encode_conversation(forgets, talk("a", "b", "c", "d"))
    with pytest.raises(DataError, match="what asks for an answer is not how the answer begins"):
        encode_conversation(policy_with(THINKS), talk("a", "b"))
    with pytest.raises(ModelError, match="no chat template"):
        encode_conversation(policy_with(None), talk("a", "b"))


def test_the_last_answer_alone_is_learned_of_a_prompt_with_a_completion() -> None:
    policy = policy_with(CHATML)
    *before, last = talk("Hi", "Yo", "So", "No")
    whole = encode_shown(policy, tuple(before), last.content, whole=True)
    alone = encode_shown(policy, tuple(before), last.content)
    assert whole == encode_conversation(policy, (*before, last))
    assert [text for own, text in pieces(policy, alone) if own] == ["No<end>"]
    assert whole.taught == 2 * alone.taught
    assert encode_shown(policy, "ab", "c", whole=True) == Masked.of(*map(policy.tokenizer.encode, ("ab", "c<end>")))


def test_the_loss_of_a_conversation_is_the_sum_over_its_answers_alone() -> None:
    """The same from prompts and completions cut by hand, one a turn, and by transformers' own masked cross entropy."""
    policy = policy_with(CHATML)
    said = talk("Hi", "Yo there", "So", "No")
    whole = encode_conversation(policy, said)
    task = CompletionTask(policy, [whole])
    turns = [
        Masked.of(policy.encode_prompt(said[:k]), policy.encode_completion(said[:k], said[k].content)) for k in (1, 3)
    ]
    by_turn = CompletionTask(policy, turns)
    count = task.count([0])
    assert count == by_turn.count([0, 1]) == len("Yo there") + len("No") + 2
    expected = float(by_turn.loss([0, 1], count).detach())
    assert float(task.loss([0], count).detach()) == pytest.approx(expected, abs=1e-5)
    labels = torch.tensor([[i if own else -100 for i, own in zip(whole.ids, whole.learned, strict=True)]])
    theirs = policy.model(input_ids=torch.tensor([whole.ids]), labels=labels).loss
    assert float(theirs.detach()) == pytest.approx(expected, abs=1e-5)


def test_a_weight_multiplies_a_texts_part_of_the_loss() -> None:
    policy = policy_with(CHATML)
    one, two = (encode_conversation(policy, talk("Hi", text)) for text in ("Yo", "No"))
    plain = CompletionTask(policy, [one, two])
    first, second = (float(plain.loss([row], 6).detach()) for row in (0, 1))
    weighed = CompletionTask(policy, [one._replace(weight=0.5), two._replace(weight=3.0)])
    assert float(weighed.loss([0, 1], 6).detach()) == pytest.approx(0.5 * first + 3 * second, rel=1e-5)


def faults(template: str, *said: str, ends: tuple[str, ...] = ()) -> set[str]:
    *before, last = talk(*said)
    return set(preview(policy_with(template, ends), [Looked("line 1", tuple(before), last.content, True)]).faults)


def test_faults_of_conversations_are_told() -> None:
    assert faults(CHATML, "Hi", "Yo", "So", "No") == set()
    assert faults(HEADERS, "Hi", "Yo", "So", "No", ends=("<|turn|>",)) == set()
    assert faults(MARKED, "Hi", "Yo") == set()
    assert faults("<begin>" + HEADERS, "Hi", "Yo", ends=("<|turn|>",)) == {stage.DOUBLED_BEGIN}
    assert faults("{# <begin> #}" + HEADERS.removeprefix("<begin>"), "Hi", "Yo", ends=("<|turn|>",)) == {stage.NO_BEGIN}
    assert faults(HEADERS, "Hi", "Y<begin>o", ends=("<|turn|>",)) == {stage.BEGIN_INSIDE}
    assert faults(TRIMS, "Hi", "Yo", "So", "No") == {stage.NO_END}
    assert faults(CHATML, "Hi", f"Yo{END}", "So", "No") == {stage.DOUBLED_END, stage.END_INSIDE}
    assert faults(CHATML, "Hi", f"Y{END}o") == {stage.END_INSIDE}
    assert faults(CHATML, "Hi", " ", "So", "No") == {stage.EMPTY}
    assert faults(CHATML, "a" * 60, "b" * 60) == {stage.TOO_LONG}
    assert faults(MARKED.replace("%}[assistant]{%", "%}[assistant] {%"), "Hi", "Yo") == {stage.OTHER_PROMPT}


def test_the_preview_shows_the_mask_that_is_trained_on() -> None:
    policy, said = policy_with(CHATML), talk("Hi", "Yo", "So", "No")
    (seen,) = preview(policy, [Looked("line 1", said[:-1], "No", True)]).shown
    taken = encode_shown(policy, said[:-1], "No", True)
    assert tuple(seen.learned) == taken.learned
    assert seen.tokens == [policy.tokenizer.decode([token]) for token in taken.ids]
