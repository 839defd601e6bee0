"""What is trained on, as training makes it, and each fault planted once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, processors
from tokenizers.decoders import Metaspace
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from heed.cli import app
from heed.errors import DataError
from heed.feedback.kinds import Message, PromptContent
from heed.models.policy import Policy
from heed.stages import preview as stage
from heed.stages.preview import Looked, preview
from tiny_models import END, byte_policy, byte_tokenizer, causal_model, letter_tokenizer

CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
TALK = (Message(role="user", content="Hi"),)


def policy_with(template: str | None = None, begin: bool = True, merges: tuple[tuple[str, str], ...] = ()) -> Policy:
    tokenizer = byte_tokenizer(begin, merges)
    tokenizer.chat_template = template
    return Policy.of(causal_model("llama", len(tokenizer), 0), tokenizer)


def faults(policy: Policy, prompt: PromptContent, text: str) -> set[str]:
    return set(preview(policy, [Looked("line 1", prompt, text)]).faults)


def test_what_is_sound_has_no_fault_and_shows_what_training_takes() -> None:
    policy = policy_with()
    found = preview(policy, [Looked("line 1", "ab", "cd"), Looked("line 2", "e", "f")], shown=1)
    assert not found.faults
    (seen,) = found.shown
    assert seen.tokens == ["<begin>", "a", "b", "c", "d", END]
    assert seen.learned == [False] * 3 + [True] * 3
    assert (found.rows, found.tokens, found.trained) == (2, 6 + 4, 3 + 2)
    with pytest.raises(DataError, match="nothing to look at"):
        preview(policy, [])


def test_each_fault_is_told() -> None:
    assert faults(policy_with("<begin>" + CHAT), TALK, "x") == set()
    assert faults(policy_with("<begin><begin>" + CHAT), TALK, "x") == {stage.DOUBLED_BEGIN}
    assert faults(policy_with(CHAT), TALK, "x") == {stage.NO_BEGIN}
    assert faults(policy_with(CHAT, begin=False), TALK, "x") == set()
    plain = policy_with()
    assert faults(plain, "a", f"b{END}c") == {stage.END_INSIDE}
    assert faults(plain, "a", f"b{END}") == {stage.DOUBLED_END}
    assert faults(plain, "a", "b<begin>") == {stage.BEGIN_INSIDE}
    assert faults(plain, "a", "  ") == {stage.EMPTY}
    assert faults(plain, "a" * 90, "b" * 20) == {stage.TOO_LONG}
    assert faults(policy_with(merges=(("a", "b"),)), "xa", "bx") == {stage.SEAM}


def test_a_tokenizer_that_ends_every_text_is_told() -> None:
    tokenizer = letter_tokenizer()
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, end)]
    )
    policy = Policy.of(causal_model("llama", len(tokenizer), 0), tokenizer)
    assert stage.END_IN_PROMPT in faults(policy, "abc", "def")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    byte_policy(begin=True).save(tmp_path / "model")
    rows = [{"prompt": "ab", "completion": "cd"}, {"prompt": "ab", "chosen": "e", "rejected": f"f{END}"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["preview", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "rows.jsonl")]
    assert app(command, standalone_mode=False) == 1
    shown = capsys.readouterr().out
    assert "<begin>|a|b|c|d|<end>|" in shown
    assert "1 bring an end token of their own" in shown
    assert "(first line 2)" in shown
    assert app([*command, "--json", "--rows", "1"], standalone_mode=False) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == 3
    assert told["shown"][0]["tokens"] == ["<begin>", "a", "b", "c", "d", END]
    assert told["shown"][0]["learned"] == [False] * 3 + [True] * 3
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert not app(command, standalone_mode=False)
    assert "stand where they should" in capsys.readouterr().out


def test_spaces_that_sentencepiece_writes_before_a_token_are_shown() -> None:
    own = Tokenizer(WordLevel({"\u2581the": 0, "fox": 1, "\u2581\u2581ran": 2, "</s>": 3}, unk_token="</s>"))
    own.decoder = Metaspace()
    policy = SimpleNamespace(tokenizer=PreTrainedTokenizerFast(tokenizer_object=own, eos_token="</s>"))
    assert "".join(stage._texts(policy, [0, 1, 2, 3])) == " thefox  ran</s>"  # type: ignore[arg-type]
