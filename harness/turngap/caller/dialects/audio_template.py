"""The text around the audio in an agent's media messages, learnt from one that was parsed: those after it are not.

An agent sends the same message again and again with other audio in it. A JSON text that equals an earlier one up to its
payload and after it, and has base64 alone between, means the same but for its audio: the parser is in the same state
where the payload begins, and base64 has neither a quote nor an escape that would change it. Everything else is parsed.
"""

from __future__ import annotations

import binascii

from turngap.caller.dialects.json_messages import MAX_JSON_CHARS, PAYLOAD_BEGIN, PAYLOAD_KEY
from turngap.caller.long_message import AnyMessage

MOST_LESSONS = 100
"""After so many an agent's messages are taken to differ in more than their audio, as by a number each."""


class AudioTemplate:
    """What one agent's media messages have in common."""

    def __init__(self) -> None:
        self._before = self._after = ""
        self._lessons = 0

    def read(self, message: AnyMessage) -> bytes | None:
        """Return the audio of a message that differs in it alone from the one learnt; None: parse it."""
        before, after = self._before, self._after
        if (
            not before
            or not isinstance(message, str)
            or not len(before) + len(after) < len(message) <= MAX_JSON_CHARS
            or not message.startswith(before)
            or not message.endswith(after)
        ):
            return None
        try:
            return binascii.a2b_base64(message[len(before) : -len(after)], strict_mode=True)
        except ValueError:  # not base64, or not ASCII
            return None

    def learn(self, message: AnyMessage, payload: AnyMessage) -> None:
        """Learn from a message that was parsed and whose payload, the only one in it, is its audio."""
        if self._lessons == MOST_LESSONS or not isinstance(message, str) or len(message) > MAX_JSON_CHARS:
            return
        self._lessons += 1
        if "\\" in message or message.count(PAYLOAD_KEY) != 1 or (begin := PAYLOAD_BEGIN.search(message)) is None:
            return
        end = message.find('"', begin.end())
        if end > begin.end() and message[begin.end() : end] == payload:
            self._before, self._after = message[: begin.end()], message[end:]
