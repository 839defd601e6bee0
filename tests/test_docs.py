"""What the documents show is what happens: every fenced block is run, every link resolves, every generated page is fresh."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from documents import ROOT, Block, Shell, agrees, blocks, prose, read
from heed.models.policy import Policy
from heed.sandbox import world
from heed.train.optimise import FitSettings
from heed.train.supervised import pretrain

GUIDES = (
    "docs/tutorial.md",
    "docs/formats.md",
    "docs/trust.md",
    "docs/data.md",
    "docs/optimise.md",
    "docs/models.md",
    "docs/environments.md",
)
READMES = ("README.md", "README.zh.md")
GENERATED = ("settings.md", "algorithms.md", "report.md", "api.md")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

ANSWERS = "left\nright\nright\n" * 8
"""What the readers of the documents type, at the judge and in the chat."""

SMALL = {
    "sampling": {"max_new_tokens": 8},
    "reward": {"epochs": 1, "prompts_per_step": 8},
    "policy": {"steps": 2, "prompts_per_step": 4, "max_new_tokens": 8},
    "evaluate": {"prompts": 8},
}
"""Laid over the settings of projects whose document leaves them as they are: the same commands, fewer steps."""

SMALLER = {
    "sampling": {"prompts": 80, "max_new_tokens": 24},
    "sft": {"epochs": 0.1},
    "policy": {"steps": 2, "max_new_tokens": 24, "audit_every": 1},
    "evaluate": {"prompts": 30},
}
"""Laid over what the tutorial asks for, which takes a reader two minutes: numbers are not compared in any case."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a base model of the true recipe's name and shape, trained for a few steps only."""
    folder = tmp_path_factory.mktemp("cache")
    torch.manual_seed(0)
    policy = Policy.of(LlamaForCausalLM(world.model_config()), world.tokenizer(), "the built-in world")
    texts = world.pretraining_texts(0, 320)
    encoded = world._answers(policy.tokenizer, texts)
    settings = FitSettings(**{**world.PRETRAINING, "steps": 10, "prompts_per_step": 32, "learning_rate": 5e-3})
    pretrain(policy, encoded, settings, 0)
    policy.save(folder / f"base-{world.recipe_hash(**world.PRETRAINING, seed=world.PRETRAINING_SEED)}")
    return folder


@pytest.fixture
def desk_of_a_reader(tmp_path: Path) -> Path:
    """A folder with the files that the documents take for granted: a model, prompts, demonstrations and comparisons."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=world.VOCABULARY_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=world.CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=world.tokenizer().eos_token_id,
        pad_token_id=world.tokenizer().pad_token_id,
    )
    Policy.of(LlamaForCausalLM(shape), world.tokenizer(), "a reader's model").save(tmp_path / "path" / "to" / "model")

    def write(name: str, row: Callable[[int], dict[str, str]], count: int) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row(k)) + "\n" for k in range(count)))

    write("prompts.jsonl", lambda k: {"prompt": f"Once upon a time, {k} years ago"}, 40)
    write("test_prompts.jsonl", lambda k: {"prompt": f"Long ago, in the year {k}"}, 40)
    write("demonstrations.jsonl", lambda k: {"prompt": f"Question {k}?", "completion": f"Answer {k}."}, 12)
    write("train.jsonl", lambda k: {"prompt": f"To learn {k}", "chosen": f"a good one {k}", "rejected": "bad"}, 24)
    write("test.jsonl", lambda k: {"prompt": f"To test {k}", "chosen": f"a good one {k}", "rejected": "bad"}, 24)
    return tmp_path


def smaller_after_init(shell: Shell, block: Block) -> Iterator[Block]:
    """The block in pieces, the first ending with ``heed init``, after which the new project's settings are made small."""
    for command, shown in block.steps:
        yield Block(block.document, block.line, block.info, f"$ {command}\n{shown}")
        if command.startswith("heed init "):
            shell.overlay(shell.folder / command.split()[2] / "heed.yaml", dict(SMALL))


@pytest.mark.slow
def test_tutorial(cache: Path, desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS, {"HEED_CACHE": str(cache)})
    for block in blocks("docs/tutorial.md"):
        shell.run(block)
        if block.info == "yaml heed.yaml":
            shell.overlay(shell.folder / "heed.yaml", dict(SMALLER))


def test_formats(cache: Path, desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    shell.run(Block("test", 0, "console free", "$ heed init shop --model path/to/model --prompts prompts.jsonl\n"))
    shell.folder /= "shop"
    for block in blocks("docs/formats.md"):
        shell.run(block)


def test_trust(desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    for block in blocks("docs/trust.md"):
        shell.run(block)


def test_data(desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    for block in blocks("docs/data.md"):
        shell.run(block)


def test_optimise(desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    for block in blocks("docs/optimise.md"):
        shell.run(block)


def test_models(desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    for block in blocks("docs/models.md"):
        shell.run(block)


@pytest.mark.slow
def test_environments(desk_of_a_reader: Path) -> None:
    shell = Shell(desk_of_a_reader, ANSWERS)
    for block in blocks("docs/environments.md"):
        shell.run(block)


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    done = Shell(tmp_path)._call([sys.executable, str(example)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_readme(desk_of_a_reader: Path) -> None:
    for block in blocks("README.md"):
        shell = Shell(desk_of_a_reader, ANSWERS)
        pieces = smaller_after_init(shell, block) if block.info.startswith("console") else [block]
        for piece in pieces:
            shell.run(piece)


def test_every_block_is_run_or_is_for_the_eye() -> None:
    for name in {*DOCUMENTS} - {*GUIDES, *READMES}:
        assert all(block.info in ("", "text") for block in blocks(name)), name


def test_readmes_say_the_same_in_two_languages() -> None:
    english, chinese = (blocks(name) for name in READMES)
    assert [(block.info, block.body) for block in english] == [(block.info, block.body) for block in chinese]
    headings = [re.findall(r"^#+", prose(name), re.MULTILINE) for name in READMES]
    assert headings[0] == headings[1]
    tables, bullets = (
        [len(re.findall(pattern, prose(name), re.MULTILINE)) for name in READMES] for pattern in (r"^\|", r"^- ")
    )
    assert tables[0] == tables[1]
    assert bullets[0] == bullets[1]
    code = [
        sorted(re.findall(r"`([^`]+)`", re.sub(r"^\|.*$", "", prose(name), flags=re.MULTILINE))) for name in READMES
    ]
    assert code[0] == code[1]


def anchors(name: str) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    found = re.findall(r"^#+ (.*)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_resolve(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.is_file(), f"{name}: {target}"
        assert not anchor or anchor in anchors(str(place.resolve().relative_to(ROOT))), f"{name}: {target}"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert generator().PAGES[name]() == read(f"docs/{name}"), "run: make docs"


def test_every_cell_of_a_generated_table_closes_what_it_opens() -> None:
    rows = [line for name in GENERATED for line in read(f"docs/{name}").splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert [row for row in rows if any(cell.count("`") % 2 for cell in re.split(r"(?<!\\)\|", row))] == []


def test_every_command_is_in_the_documents() -> None:
    from typer.main import get_command

    from heed.cli import app

    told = "".join(read(name) for name in DOCUMENTS)
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert not [name for name in commands if f"heed {name}" not in told]


@pytest.mark.parametrize(
    ("shown", "given", "same"),
    [
        (
            "reward-1 done (3 s): right on 61.2 % (40 to 80 %)",
            "reward-1 done (14 s): right on 7.0 % (1.5 to 90 %)",
            True,
        ),
        ("policy-1 done", "policy-1 failed", False),
        ("reward-1 done", "reward-2 done", False),
        ("first\n...\nlast", "first\nmore\nand more\nlast\n", True),
        ("first\nlast", "first\nmore\nlast\n", False),
        ("7 judgments imported", "7 judgments imported\n1 broken", False),
        ("from c0123456789abcdef", "from cfedcba9876543210", True),
    ],
)
def test_outputs_are_compared_by_what_they_say(shown: str, given: str, same: bool) -> None:
    assert agrees(shown, given) is same


def test_comparing_outputs_is_no_empty_ceremony(tmp_path: Path) -> None:
    for info, body in (
        ("console", "$ echo one\ntwo\n"),
        ("console", "$ false\n"),
        ("console free", "$ true\n"),
        ("console error", "$ true\n"),
        ("python", "1 / 0"),
        ("console", "$ make nothing-of-this-name\n"),
    ):
        with pytest.raises(AssertionError):
            Shell(tmp_path).run(Block("test", 1, info, body))
