"""``heed chat``: talk to a policy, or to two side by side."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

from heed.config import SamplingSettings, parse_settings
from heed.errors import ConfigError, DataError, HeedError
from heed.feedback.kinds import Message
from heed.terminal.console import console, note, print_error
from heed.terminal.models import policy_source, project_around
from heed.terminal.text import counted, safe
from heed.texts import shown, text_fault

if TYPE_CHECKING:
    from heed.models.policy import Policy
    from heed.project import Project

_HELP = "/reset forgets the conversation, /quit leaves; Ctrl-C ends a reply"


class Talker:
    """One side of the chat: a policy and its own record of the conversation.

    With a chat template the conversation is kept as messages; without one the model goes on with the text so far, yours
    and its own.

    Args:
        policy: who answers.
        name: what to call it on the screen.
        settings: of the sampling.
        seed: of the replies; each turn has its own draw.
    """

    def __init__(self, policy: Policy, name: str, settings: SamplingSettings, seed: int) -> None:
        self.policy, self.name = policy, name
        self._settings, self._seed = settings, seed
        self.has_template = bool(policy.tokenizer.chat_template)
        self.reset()

    def reset(self) -> None:
        """Forget the conversation; the same words then get the same replies again."""
        self._messages: list[Message] = []
        self._text = ""
        self._turn = 0

    def reply(self, words: str) -> Generator[str]:
        """Pieces of the reply to ``words`` as it is written. What was written of a reply that is cut short is kept.

        Raises:
            DataError: what was said is longer than the model's context, or refused by its chat template; it is forgotten.
        """
        from heed.models.decode import stream

        before = (list(self._messages), self._text)
        if self.has_template:
            self._messages.append(Message(role="user", content=words))
        else:
            self._text += words
        self._turn += 1
        try:
            ids = self._encoded()
        except HeedError:
            self._messages, self._text = before
            raise
        written: list[str] = []
        try:
            for piece in stream(self.policy, ids, self._settings, self._seed * 1_000_003 + self._turn):
                written.append(piece)
                yield piece
        finally:
            if self.has_template:
                # Unchecked: a model may write what a person may not, a NUL character for one.
                self._messages.append(Message.model_construct(role="assistant", content="".join(written)))
            else:
                self._text += "".join(written)

    def _encoded(self) -> list[int]:
        """Token ids of what fits into the context; what does not is forgotten, oldest first, and said so."""
        room = self.policy.context - self._settings.max_new_tokens
        if not self.has_template:
            ids = self.policy.encode_prompt(self._text)
            if len(ids) > room > 0:
                note(f"{self.name}: the first {counted(len(ids) - room, 'token')} no longer fit and are forgotten")
                ids = ids[-room:]
            return ids
        forgotten = 0
        while len(ids := self.policy.encode_prompt(tuple(self._messages))) > room and len(self._messages) > 2:
            del self._messages[:2]
            forgotten += 1
        if forgotten:
            note(f"{self.name}: the first {counted(forgotten, 'exchange')} no longer fit and are forgotten")
        if len(ids) > room:
            raise DataError(
                f"{len(ids)} tokens of yours",
                f"with {self._settings.max_new_tokens} new ones they do not fit the model's context of "
                f"{self.policy.context}.",
                "Say it in fewer words, or lower --max-new-tokens.",
            )
        return ids


def chat(
    model: str | None, against: str | None, temperature: float, max_new_tokens: int | None, seed: int, device: str
) -> bool:
    """Answer each line of standard input until it ends.

    Args:
        model: a run of the project, a folder or a hub id; None is the project's newest policy.
        against: a second one to answer beside it.
        temperature: of the sampling; 0 takes the likeliest token.
        max_new_tokens: longest reply (tokens); None is the project's own.
        seed: of the replies.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        Whether every line has been answered; what could not be was told as it came.

    Raises:
        ProjectError: no model is named and there is no project. ModelError: a model cannot be loaded.
        ConfigError: the temperature is none, or the longest reply leaves a model no room for a prompt.
    """
    with project_around(needed=model is None) as project:
        settings = _settings(project, temperature, max_new_tokens)
        sources = [_source(model, project)]
        sources += [_source(against, project)] if against is not None else []
    talkers = [Talker(_load(source, device), name, settings, seed) for source, name in sources]
    for talker in talkers:
        _check_room(talker, settings)
    answered = True
    if sys.stdin.isatty():
        note(f"{' and '.join(_introduction(talker) for talker in talkers)}; {_HELP}")
    while (words := _next_words()) is not None:
        if words == "/quit":
            break
        if words == "/reset":
            for talker in talkers:
                talker.reset()
            note("the conversation is forgotten")
        elif words.startswith("/"):
            note(f"{words.split()[0]} is no command; {_HELP}")
        elif words.strip():
            answered = _exchange(talkers, words) and answered
    return answered


def _settings(project: Project | None, temperature: float, max_new_tokens: int | None) -> SamplingSettings:
    own = project.settings.sampling if project else SamplingSettings()
    values = own.model_dump() | {"temperature": temperature, "top_p": 1.0, "top_k": 0}
    if max_new_tokens is not None:
        values["max_new_tokens"] = max_new_tokens
    return parse_settings(SamplingSettings, values, "heed chat")


def _check_room(talker: Talker, settings: SamplingSettings) -> None:
    context = talker.policy.context
    if settings.max_new_tokens >= context:
        raise ConfigError(
            f"replies of up to {settings.max_new_tokens:,} tokens",
            f"the context of {talker.name} is {context:,} tokens, and what is said to it needs some of them.",
            f"Give less than that, for example --max-new-tokens {max(1, context // 2)}",
        )


def _source(name: str | None, project: Project | None) -> tuple[str, str]:
    from heed.rounds import Rounds
    from heed.train.progress import Watcher

    if name is not None:
        return policy_source(name, project)
    if project is None:
        raise RuntimeError("a model without a name is a project's")
    return Rounds(project, Watcher()).newest_policy()


def _load(source: str, device: str) -> Policy:
    from heed.models.policy import Policy
    from heed.stages.results import prepare_machine

    return Policy.load(source, prepare_machine(device))


def _introduction(talker: Talker) -> str:
    manner = "answers" if talker.has_template else "has no chat template and goes on with your text"
    return f"{talker.name} {manner}"


def _next_words() -> str | None:
    """The next line, or None at the end. In a terminal it can be edited, and Ctrl-C ends the chat."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - its import gives input() a history and editing
    try:
        return input("you> ")
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _exchange(talkers: list[Talker], words: str) -> bool:
    """Have ``words`` answered; whether that could be done."""
    try:
        fault = text_fault(words)
        if fault:
            raise DataError(f"the line {shown(words)}", f"{fault}.", "Give text in UTF-8.")
        if len(talkers) == 1:
            _reply_alone(talkers[0], words)
        elif console().is_terminal:
            _reply_side_by_side(talkers, words)
        else:
            for talker in talkers:
                console().print(safe(f"{talker.name}: {''.join(talker.reply(words))}"), soft_wrap=True)
    except HeedError as error:
        print_error(error)
        return False
    return True


def _reply_alone(talker: Talker, words: str) -> None:
    pieces = talker.reply(words)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(pieces):
        for piece in pieces:
            sys.stdout.write(safe(piece))
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _reply_side_by_side(talkers: list[Talker], words: str) -> None:
    from rich.live import Live
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    replies = ["" for _ in talkers]

    def panels() -> Table:
        table = Table.grid(expand=True)
        for _ in talkers:
            table.add_column(ratio=1)
        table.add_row(
            *(Panel(Text(safe(text)), title=Text(safe(t.name))) for t, text in zip(talkers, replies, strict=True))
        )
        return table

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        writing = {place: stack.enter_context(contextlib.closing(t.reply(words))) for place, t in enumerate(talkers)}
        live = stack.enter_context(Live(get_renderable=panels, console=console(), refresh_per_second=12))
        # One piece each in turn, so that both are seen to write at the same time.
        while writing:
            for place, pieces in list(writing.items()):
                piece = next(pieces, None)
                if piece is None:
                    del writing[place]
                else:
                    replies[place] += piece
        live.refresh()
