"""Praat's TextGrid, long and short: interval tiers of words or of utterances, a tier a speaker.

The format: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html. Both forms hold the same values in the
same order (numbers, texts in quotes, flags in angle brackets); the long one names them, which is ignored here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from turngap.annotations.fields import (
    check_order,
    is_silence_mark,
    label_error,
    label_text,
    names_no_speech,
    parse_time_ms,
)
from turngap.annotations.model import Annotations, Stretch, TimedWord, join_stretches, order_annotations

_VALUE = re.compile(
    r'("(?:[^"]|"")*"|<[^>\n]*>|(?<![\w.\[])[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.\]]))|!.*|\S', re.ASCII
)
"""A value, in its group, or what is passed over."""
_WORD_TIER = re.compile(r"(.*?)[-_. :]*\bwords?\b[-_. :]*(.*)", re.IGNORECASE)
_PHONE_TIER = re.compile(r"\bphone(s|mes)?\b|\bsegments?\b|\bsyllables?\b", re.IGNORECASE)
_LONGEST_NAME = 200
"""Of a tier: the patterns take a time that grows with its square."""
_WORD_GAP_MS = 200.0
"""Words of a tier without utterances form stretches: those with a shorter gap between them are one."""


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    line: int


def parse_textgrid(text: str, name: str) -> Annotations:
    """Return the words of tiers with "word" in their name, and the utterances of other interval tiers.

    The rest of a word tier's name, or another tier's name, is the speaker. Tiers of phones and point
    tiers do not count. A speaker without utterances has the stretches that the words form.

    Raises:
        ScenarioError: it is no TextGrid (`scenario.labels`).
    """
    values = _Values(_tokenise(text), name)
    if values.take().text != '"ooTextFile"' or values.take().text != '"TextGrid"':
        raise label_error(f"{name}:1", 'not a Praat TextGrid: it begins with "ooTextFile" and "TextGrid"')
    values.take_time(), values.take_time()
    if values.take().text != "<exists>":
        return Annotations(())
    stretches: list[Stretch] = []
    words: list[TimedWord] = []
    for _ in range(values.take_count()):
        kind, tier = values.take_text(), values.take_text()
        if len(tier) > _LONGEST_NAME:
            raise label_error(f"{name}:{values.line}", f"a tier's name has {len(tier):,} characters")
        values.take_time(), values.take_time()
        if kind not in ("IntervalTier", "TextTier"):
            raise label_error(f"{name}:{values.line}", f"the tier {tier!r} is of the unknown kind {kind!r}")
        for _ in range(values.take_count()):
            if kind == "TextTier":
                values.take_time(), values.take_text()
                continue
            start_ms, end_ms, label = values.take_time(), values.take_time(), values.take_text()
            check_order(start_ms, end_ms, f"{name}:{values.line}")
            if end_ms == start_ms or _PHONE_TIER.search(tier):
                continue
            if (match := _WORD_TIER.fullmatch(tier)) is not None:
                if not is_silence_mark(label):
                    speaker = " ".join(part for part in match.groups() if part)
                    words.append(TimedWord(" ".join(label.split()), start_ms, end_ms, speaker))
            elif not names_no_speech(label):
                stretches.append(Stretch(start_ms, end_ms, label_text(label), tier))
    spoken = {one.speaker for one in stretches}
    silent = [one for one in words if one.speaker not in spoken]
    return order_annotations([*stretches, *form_stretches(silent)], words)


def form_stretches(words: list[TimedWord], gap_ms: float = _WORD_GAP_MS) -> tuple[Stretch, ...]:
    """Return the stretches of speech that words form: those of one speaker with gaps under `gap_ms` are one."""
    return join_stretches(
        (Stretch(one.start_ms, one.end_ms, one.text, one.speaker, one.channel) for one in words), gap_ms
    )


def write_textgrid(annotations: Annotations, *, short: bool = False) -> str:
    """Return a TextGrid with a tier for each speaker's stretches, and one for their words, "SPEAKER - words"."""
    ends = [*(one.end_ms for one in annotations.speech), *(word.end_ms for word in annotations.words)]
    end_ms = max(ends, default=1.0)
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for one in annotations.speech:
        tiers.setdefault(one.speaker, []).append((one.start_ms, one.end_ms, one.text or "speech"))
    for word in annotations.words:
        tiers.setdefault(f"{word.speaker} - words", []).append((word.start_ms, word.end_ms, word.text))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]

    def add(name: str, value: float | int | str) -> None:
        text = f'"{value.replace(chr(34), chr(34) * 2)}"' if isinstance(value, str) else f"{value:.10g}"
        lines.append(text if short else f"{name} = {text}")

    add("xmin", 0)
    add("xmax", end_ms / 1000)
    lines.append("<exists>" if short else "tiers? <exists>")
    add("size", len(tiers))
    for number, (tier, intervals) in enumerate(tiers.items(), start=1):
        lines += [] if short else [f"item [{number}]:"]
        add("class", "IntervalTier")
        add("name", tier)
        add("xmin", 0)
        add("xmax", end_ms / 1000)
        add("intervals: size", len(intervals))
        for place, (start, end, label) in enumerate(intervals, start=1):
            lines += [] if short else [f"intervals [{place}]:"]
            add("xmin", start / 1000)
            add("xmax", end / 1000)
            add("text", label)
    return "\n".join(lines) + "\n"


def _tokenise(text: str) -> Iterator[_Value]:
    """Yield numbers, texts in quotes and flags; words, "=", "[1]" and comments are passed over."""
    line, at = 1, 0
    for match in _VALUE.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        if match[1] is not None:
            yield _Value(match[1], line)


class _Values:
    """The values one after the other; the line of the last one is in messages."""

    def __init__(self, values: Iterator[_Value], name: str) -> None:
        self._values, self._name, self.line = values, name, 1

    def take(self) -> _Value:
        value = next(self._values, None)
        if value is None:
            raise label_error(f"{self._name}:{self.line}", "not a Praat TextGrid, or it ends too early")
        self.line = value.line
        return value

    def take_time(self) -> float:
        return parse_time_ms(self.take().text, f"{self._name}:{self.line}", "the time")

    def take_text(self) -> str:
        text = self.take().text
        if not text.startswith('"') or len(text) < 2:
            raise label_error(f"{self._name}:{self.line}", f"a text in quotes is expected, not {text[:40]!r}")
        return text[1:-1].replace('""', '"')

    def take_count(self) -> int:
        text = self.take().text
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise label_error(f"{self._name}:{self.line}", f"a number of entries is expected, not {text[:40]!r}")
        return int(text)
