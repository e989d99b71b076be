"""The fields that label formats share: times, and the error that names file and line."""

from __future__ import annotations

import math
import re

from turngap_agent.errors import ScenarioError

LONGEST_S = 1e6
"""A time over 11 days is a sample number, or milliseconds, in the place of seconds."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_SPEECH = re.compile(
    r"[\W_]*(sil(ence)?|pau(se)?|sp|spn|noise|breath|music|laugh(ter)?|cough|non[-_ ]?speech|no[-_ ]speech|un-?labelled"
    r"|unlabeled|ignore_time_segment_in_scoring|xxx)?[\W_]*",
    re.IGNORECASE,
)
_SILENCE_MARK = re.compile(r"\s*|[<\[({]\s*[^>\])}]*[>\])}]|sil|sp|spn|#|_", re.IGNORECASE)
_SPEECH = re.compile(r"[\W_]*(speech|speaking|voice|talk(ing)?|turn|utterance)?[\W_]*\d*", re.IGNORECASE)

_LONGEST_MARK = 100
"""A longer label holds words; matching it would take a time that grows with the square of its length."""


def label_error(where: str, message: str) -> ScenarioError:
    """Return the error about a label file: `where` is its name, with a line where one is to blame."""
    return ScenarioError(f"{where}: {message}", code="scenario.labels")


def parse_time_ms(text: str, where: str, what: str, *, per_second: float = 1.0) -> float:
    """Return a time in ms, rounded to 1 µs, that the file gives in seconds (or `per_second` parts of them).

    Raises:
        ScenarioError: it is no finite number, negative, or over 11 days (`scenario.labels`).
    """
    if not _NUMBER.fullmatch(text.strip()):
        hint = ": write a decimal point" if _NUMBER.fullmatch(text.strip().replace(",", ".", 1)) else ""
        raise label_error(where, f"{what} must be a time in seconds, not {text.strip()[:40]!r}{hint}")
    seconds = float(text.strip()) / per_second
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_S:
        raise label_error(where, f"{what} must be a time in seconds from 0 to {LONGEST_S:.0f}, not {text.strip()[:40]}")
    return round(seconds * 1000, 3)


def check_order(start_ms: float, end_ms: float, where: str) -> None:
    """Raise a ScenarioError (`scenario.labels`) unless the end is at or after the start."""
    if end_ms < start_ms:
        raise label_error(where, f"it ends at {end_ms / 1000:g} s, before its start at {start_ms / 1000:g} s")


def names_no_speech(label: str) -> bool:
    """Whether a label says that there is no speech: silence, noise, laughter, and so on; "" does too."""
    return len(label := label.strip()) <= _LONGEST_MARK and _NO_SPEECH.fullmatch(label) is not None


def is_silence_mark(word: str) -> bool:
    """Whether an entry among words is none: empty, a mark of aligners such as "sp", or in brackets, as "<laugh>"."""
    return len(word := word.strip()) <= _LONGEST_MARK and _SILENCE_MARK.fullmatch(word) is not None


def label_text(label: str) -> str:
    """Return the words of a label; "" where it only says that there is speech."""
    says_only_speech = len(label) <= _LONGEST_MARK and _SPEECH.fullmatch(label) is not None
    return "" if says_only_speech else " ".join(label.split())
