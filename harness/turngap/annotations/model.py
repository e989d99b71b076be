"""What every reader of label files returns: stretches of speech and words with their times, by speaker and channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one speaker's speech; times in ms from the start of the recording."""

    start_ms: float
    end_ms: float
    text: str = ""
    """What is said in it; "" where the file does not say."""
    speaker: str = ""
    """"" where the file does not say."""
    channel: int | None = None
    """The channel of the recording, from 0; None where the file does not say."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """One word; times in ms from the start of the recording."""

    text: str
    start_ms: float
    end_ms: float
    speaker: str = ""
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a label file says about one recording, each in the order of time."""

    speech: tuple[Stretch, ...]
    words: tuple[TimedWord, ...] = ()

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of the speakers, sorted; without "" for those that have none."""
        return tuple(sorted(({one.speaker for one in self.speech} | {one.speaker for one in self.words}) - {""}))

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels that are named, in order."""
        named = {one.channel for one in self.speech} | {one.channel for one in self.words}
        return tuple(sorted(channel for channel in named if channel is not None))

    def select(self, *, speaker: str | None = None, channel: int | None = None) -> Annotations:
        """Return what is said by that speaker, on that channel; what names no channel counts for each of them."""

        def belongs(one: Stretch | TimedWord) -> bool:
            return (speaker is None or one.speaker == speaker) and (
                channel is None or one.channel is None or one.channel == channel
            )

        return Annotations(tuple(filter(belongs, self.speech)), tuple(filter(belongs, self.words)))


def order_annotations(speech: Iterable[Stretch], words: Iterable[TimedWord] = ()) -> Annotations:
    """Return annotations in the order of time, as the readers return them."""
    return Annotations(
        tuple(sorted(speech, key=lambda one: (one.start_ms, one.end_ms))),
        tuple(sorted(words, key=lambda one: (one.start_ms, one.end_ms))),
    )


def join_stretches(stretches: Iterable[Stretch], gap_ms: float = 0.0) -> tuple[Stretch, ...]:
    """Return the stretches with those of one speaker and channel joined that overlap or lie at most `gap_ms` apart."""
    joined: dict[tuple[str, int | None], list[Stretch]] = {}
    for one in sorted(stretches, key=lambda each: (each.start_ms, each.end_ms)):
        own = joined.setdefault((one.speaker, one.channel), [])
        if own and one.start_ms - own[-1].end_ms <= gap_ms:
            text = " ".join(part for part in (own[-1].text, one.text) if part)
            own[-1] = replace(own[-1], end_ms=max(own[-1].end_ms, one.end_ms), text=text)
        else:
            own.append(one)
    return order_annotations(each for own in joined.values() for each in own).speech
