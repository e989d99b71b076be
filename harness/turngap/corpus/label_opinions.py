"""Where a recording's speech ends by each label: by threshold, by noise floor, by hand, and by a recogniser's words.

One of them is the label that a run takes. The recogniser's word times are a second opinion and never a label: its last
word is off by tens of milliseconds. Where they differ from the label by more than 40 ms, a person decides.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
from turngap_agent.telephony import SAMPLE_RATE

from turngap.annotations import Annotations, Stretch, TimedWord
from turngap.corpus.audio_sources import read_audio, read_mono
from turngap.corpus.floor_label import FloorLabel, label_by_floor
from turngap.corpus.hand_labels import HandLabel, read_label_beside
from turngap.corpus.recording_check import RecordingCheck, check_recording
from turngap.corpus.recording_clips import check_inside, threshold_stands
from turngap.model.records import LabelSource
from turngap.processes.recogniser import transcribe_pieces

DISAGREEMENT_MS = 40.0


@dataclass(frozen=True, slots=True)
class LabelOpinions:
    """One recording with every label that it has; times in ms from the start of the file."""

    check: RecordingCheck
    """The label by threshold."""
    floor: FloorLabel | None
    """That relative to the noise floor; None where no speech is found over it."""
    hand: HandLabel | None
    """That of the file beside the recording."""
    words: tuple[TimedWord, ...] = ()
    """What the recogniser hears, where it was asked."""
    trouble: str = ""
    """Why the recogniser heard nothing."""

    @property
    def source(self) -> LabelSource:
        """Which label a run takes, if it takes the recording."""
        if self.hand is not None:
            return LabelSource.HAND
        if self.floor is None or threshold_stands(self.check, self.floor):
            return LabelSource.THRESHOLD
        return LabelSource.FLOOR

    @property
    def floor_doubts(self) -> tuple[str, ...]:
        """Why the floor's label is not sure: its own doubts, or those of the label by threshold where that one counts.

        Where the floor is far under that threshold, what makes the one doubtful is in the other's sound too: a voice
        that fades, or sound up to the end of the file.
        """
        if self.floor is None:
            return ("no speech is found over the noise floor",)
        own = self.floor.doubts
        return own or (self.check.remarks_on_end if threshold_stands(self.check, self.floor) else ())

    @property
    def span_ms(self) -> tuple[float, float]:
        """Start and end of the speech by that label."""
        if self.source is LabelSource.HAND and self.hand is not None:
            return self.hand.start_ms, self.hand.end_ms
        if self.source is LabelSource.FLOOR and self.floor is not None:
            return self.floor.start_ms, self.floor.end_ms
        return self.check.start_ms, self.check.end_ms

    @property
    def moves_ms(self) -> tuple[float, float]:
        """How much later and earlier (negative) its end may lie."""
        label = {LabelSource.HAND: self.hand, LabelSource.FLOOR: self.floor}.get(self.source) or self.check.label
        return label.low_ms, label.high_ms

    @property
    def pauses_ms(self) -> tuple[tuple[float, float], ...]:
        """Pauses of 200 ms and more inside that label."""
        label = {LabelSource.HAND: self.hand, LabelSource.FLOOR: self.floor}.get(self.source)
        return self.check.pauses if label is None else label.pauses_ms

    @property
    def is_usable(self) -> bool:
        """Whether a run takes the recording and nothing speaks against it."""
        if self.source is LabelSource.HAND:
            return True
        return self.check.usable if self.source is LabelSource.THRESHOLD else bool(self.floor and self.floor.is_sure)

    @property
    def words_end_ms(self) -> float | None:
        """The end of the last word that the recogniser hears, at most the file's."""
        return min(self.words[-1].end_ms, self.check.duration_ms) if self.words else None

    @property
    def disagreement_ms(self) -> float | None:
        """The last word's end less the label's, if they differ by more than 40 ms."""
        if self.words_end_ms is None:
            return None
        difference = self.words_end_ms - self.span_ms[1]
        return difference if abs(difference) > DISAGREEMENT_MS else None

    def to_annotations(self) -> Annotations:
        """Return the stretches of speech of the label that a run takes, as a label file has them."""
        start, end = self.span_ms
        starts = [start, *(beyond for _, beyond in self.pauses_ms)]
        ends = [*(first for first, _ in self.pauses_ms), end]
        return Annotations(tuple(Stretch(*pair) for pair in zip(starts, ends, strict=True)))


def gather_opinions(path: Path) -> LabelOpinions:
    """Read a recording, label it in each way, and read the label file beside it.

    Raises:
        ScenarioError: it cannot be read (`scenario.audio`), holds no speech (`scenario.no-speech`), or its label file
            is malformed or not inside it (`scenario.labels`).
    """
    check, hand = check_recording(path), read_label_beside(path)
    if hand is not None:
        check_inside(hand, check.duration_ms)
    return LabelOpinions(check, label_by_floor(*read_mono(path)), hand)


def align_words(opinions: Sequence[LabelOpinions]) -> list[LabelOpinions]:
    """Return the opinions with the words that the recogniser hears; where it is missing they say what to install."""
    with tempfile.TemporaryDirectory() as folder:
        requests = []
        for index, each in enumerate(opinions):
            wav = Path(folder) / f"{index}.wav"
            pcm = read_audio(each.check.path)
            soundfile.write(wav, pcm, SAMPLE_RATE)
            requests.append({"wav": str(wav), "channel": 0, "start_s": 0.0, "end_s": len(pcm) / SAMPLE_RATE})
        answers, trouble = transcribe_pieces(requests) if requests else ([], "")
    if trouble:
        return [replace(each, trouble=trouble) for each in opinions]
    aligned = []
    for each, answer in zip(opinions, answers, strict=True):
        words = tuple(
            TimedWord(str(word["text"]), float(word["start_ms"]), float(word["end_ms"]))
            for word in answer.get("words", ())
        )
        aligned.append(replace(each, words=words, trouble=str(answer.get("error", "" if words else "no words in it"))))
    return aligned
