"""What both sides of a call spoke: the language model's history, the synthesiser's context, the call's own block."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import replace

from turngap_agent.llm import Message
from turngap_agent.tts import ContextUtterance

HISTORY_TURNS = 12
"""Older turns are dropped, so that a long call cannot outgrow a model's context."""
CONTEXT_TURNS = 4
"""The audio of this many turns is kept too, for synthesisers that take the conversation as context."""
_LETTERS = 16
_SOUND = re.compile(r"m+h*m*|h+m+|u+h+m*|huh|u+m+|er+m*", re.IGNORECASE)
"""Sounds that transcripts write as words: "mm-hm", "uh-huh", "um", "er"."""


class Conversation:
    """One call's memory."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._spoken: list[ContextUtterance] = []

    @property
    def history(self) -> tuple[Message, ...]:
        """Words of both sides, oldest first; begins with the caller's and alternates."""
        return tuple(self._messages)

    @property
    def context(self) -> tuple[ContextUtterance, ...]:
        """The last turns with their audio."""
        return tuple(self._spoken)

    def add(self, caller: ContextUtterance, agent: ContextUtterance) -> None:
        """Add a turn whose reply was heard, wholly or in part; an unheard reply is not added."""
        self._messages += [Message("user", caller.text), Message("assistant", agent.text)]
        self._spoken += [caller, agent]
        del self._messages[: -2 * HISTORY_TURNS], self._spoken[: -2 * CONTEXT_TURNS]

    def cut_last(self, text: str, samples: int) -> None:
        """Cut the last reply, which was interrupted, to the `text` and `samples` (8 kHz) of it that were heard.

        If no words were heard the turn is dropped.
        """
        if text:
            self._messages[-1] = Message("assistant", text)
            self._spoken[-1] = replace(self._spoken[-1], text=text, audio=self._spoken[-1].audio[: max(samples, 0)])
        else:
            del self._messages[-2:], self._spoken[-2:]


def has_words(transcript: str) -> bool:
    """Whether a transcript contains anything to answer besides the sounds of listening and thinking."""
    return any(not _SOUND.fullmatch(word) for word in re.findall(r"\w+", transcript))


def make_call_block() -> str:
    """Return a line about this call that no other call has, at least 16 tokens long in any tokeniser.

    It begins with 16 random letters (75 bits), each a word and so a token of its own. They come before anything that
    two calls could share, so no prefix cache can serve one call with another's. The line is short because each of its
    tokens is on the path to the first token of the reply.
    """
    letters = " ".join(secrets.choice(string.ascii_uppercase) for _ in range(_LETTERS))
    return f"{letters} is the reference of this call."


def heard_text(clauses: Sequence[tuple[str, int]], heard_samples: int) -> str:
    """Return the words heard of clauses as (text, samples): whole clauses, and of the last one its share of words."""
    heard: list[str] = []
    left = heard_samples
    for text, samples in clauses:
        if left >= samples:
            heard.append(text)
        else:
            words = text.split()
            heard.append(" ".join(words[: len(words) * max(left, 0) // max(samples, 1)]))
            break
        left -= samples
    return " ".join(part for part in (text.strip() for text in heard) if part)
