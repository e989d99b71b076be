"""The errors of agent and instrument, one tree.

TurngapError                  exit code 2: no verdict could be reached
├── UsageError                exit code 3: the user's input is wrong
│   ├── ProfileError          a profile that is unknown or malformed
│   ├── ScenarioError         a scenario, budget or recording that is malformed or missing
│   └── RunFolderError        a run folder that is foreign, truncated or from the future
├── WeightsError              a model file that is missing, damaged or cannot be fetched
├── EngineError               an engine that is not installed, does not load or fails
├── ProtocolError             a wire message that is not Twilio Media Streams
├── AgentError                the agent did not start, died, or does not speak the protocol
├── LiveError                 a telephone call that could not be placed, or did not go as planned
└── HarnessError              the instrument itself could not measure

Every message is one line: what is wrong, where, and what to do; a document with several errors has a line for each.
A command prints the message and exits with `exit_code`. Programs read `code` instead of the message: the class's own
(`scenario`), or a finer one below it (`scenario.unknown`).
"""

from __future__ import annotations

import errno
import traceback
from typing import ClassVar

MOST_CHARACTERS = 1000
"""Of a line of a message: what it quotes of a file or of a wire message may have any length."""
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}
_VISIBLE |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
"""Control characters, which a terminal obeys, and those that turn the direction of text, as signs to look at."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class TurngapError(Exception):
    """The root of the tree: an error whose message can be shown to the user.

    A `code` of its own starts with the class's code and a dot: `scenario.unknown`. The message has no control
    characters, and no line over `MOST_CHARACTERS`, whatever it quotes.
    """

    exit_code: ClassVar[int] = 2
    code: str = "error"

    def __init__(self, *arguments: object, code: str | None = None) -> None:
        super().__init__(*(_tidy(one) if isinstance(one, str) else one for one in arguments))
        if code is not None:
            self.code = code


class UsageError(TurngapError):
    """The user's input is wrong; nothing was run."""

    exit_code: ClassVar[int] = 3
    code = "usage"


class ProfileError(UsageError):
    """A profile is unknown or malformed."""

    code = "profile"


class ScenarioError(UsageError):
    """A scenario, a budget or a recording is malformed or missing."""

    code = "scenario"


class RunFolderError(UsageError):
    """A run folder is foreign, truncated or written by a newer version."""

    code = "run-folder"


class WeightsError(TurngapError):
    """A model file is missing, damaged or cannot be fetched."""

    code = "weights"


class EngineError(TurngapError):
    """An engine is not installed, does not load, or failed."""

    code = "engine"


class ProtocolError(TurngapError):
    """A wire message is not Twilio Media Streams."""

    code = "protocol"


class AgentError(TurngapError):
    """The agent did not start, died, or does not speak the protocol."""

    code = "agent"


class LiveError(TurngapError):
    """A telephone call could not be placed, or did not go as planned."""

    code = "live"


class HarnessError(TurngapError):
    """The instrument itself could not measure."""

    code = "harness"


def show_controls(text: str) -> str:
    """Return text for a terminal: control characters but tab and end of line are visible signs, and do nothing."""
    return text.translate(_VISIBLE)


def format_error(message: str) -> str:
    """Return an error's message as every command prints it on stderr."""
    return "\n".join(f"turngap: error: {line}" for line in message.splitlines())


def one_line(error: BaseException, limit: int | None = None) -> str:
    """Return the message of `error` on one line of at most `limit` characters; its class name where it has none."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def release_frames(error: BaseException) -> None:
    """Clear the frames that an error, its causes and those of its group have passed through; they must have ended.

    Such frames refer to each other and to the error. What they hold would be freed by the garbage collector alone.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def write_error(what: str, error: OSError) -> TurngapError:
    """Return the error for `what` (the user's path, and its purpose) that cannot be written.

    It is a `UsageError`, or a `HarnessError` if the disk is full or broken: the path is not to blame then.
    """
    kind = HarnessError if error.errno in _DISK_ERRORS else UsageError
    return kind(f"{what} ({error.strerror or error})")


def _tidy(message: str) -> str:
    """Return the message without control characters and without endless lines."""
    lines = show_controls(message).split("\n")
    return "\n".join(one if len(one) <= MOST_CHARACTERS else f"{one[: MOST_CHARACTERS - 1]}…" for one in lines)
