"""Labels by hand: where a person says that the speech of a recording starts, pauses and ends.

From a turn's `speech_ms` and `pauses_ms`, or from the label file beside the recording: its first stretch starts the
speech, its last one ends it, and gaps of 200 ms and more between stretches are pauses.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import ScenarioError

from turngap.annotations import Annotations, find_label_file, join_stretches, read_annotations
from turngap.corpora.table import UNSTATED_UNCERTAINTY_MS
from turngap.scenario.turn import PAUSE_MS, Turn

HAND_UNCERTAINTY_MS = UNSTATED_UNCERTAINTY_MS
"""How far the end of a label by hand may be off, either way, where nobody states it. An assumption, and
a wide one: an end that fades into noise is seen by each annotator at another place."""
_TEXT_SUFFIX = ".txt"
_TWO_NUMBERS = re.compile(r"\s*\d+([.,]\d+)?[\s,;]+\d")


@dataclass(frozen=True, slots=True)
class HandLabel:
    """What a person says of a recording; times in ms from its start."""

    start_ms: float
    end_ms: float
    pauses_ms: tuple[tuple[float, float], ...]
    """Pauses of 200 ms and more inside."""
    uncertainty_ms: float
    """How far the end may be off, either way."""
    origin: str
    """Where it is written, for messages: a file's name, or `speech_ms`."""

    @property
    def low_ms(self) -> float:
        """How much later the end may lie."""
        return self.uncertainty_ms

    @property
    def high_ms(self) -> float:
        """How much earlier: 0 or less."""
        return -self.uncertainty_ms


def find_hand_label(turn: Turn) -> HandLabel | None:
    """Return the label by hand of a turn with `audio`: its own keys', else that of the file beside the recording.

    Raises:
        ScenarioError: the label file is malformed, or leaves open which speaker is meant (`scenario.labels`).
    """
    uncertainty_ms = HAND_UNCERTAINTY_MS if turn.label_uncertainty_ms is None else turn.label_uncertainty_ms
    if turn.speech_ms is not None:
        pauses = tuple(pause for pause in turn.pauses_ms if pause[1] - pause[0] >= PAUSE_MS)
        return HandLabel(*turn.speech_ms, pauses, uncertainty_ms, "`speech_ms`")
    return None if turn.audio is None else read_label_beside(turn.audio, uncertainty_ms)


def read_label_beside(recording: Path, uncertainty_ms: float = HAND_UNCERTAINTY_MS) -> HandLabel | None:
    """Return what the label file beside a recording says; None if there is none.

    A `.txt` file of words, without a tab in it, is a transcript and no label file.

    Raises:
        ScenarioError: as `find_hand_label`.
    """
    path = find_label_file(recording)
    if path is None or (path.suffix.lower() == _TEXT_SUFFIX and _is_plain_text(path)):
        return None
    return to_hand_label(read_annotations(path), str(path), uncertainty_ms)


def to_hand_label(annotations: Annotations, name: str, uncertainty_ms: float = HAND_UNCERTAINTY_MS) -> HandLabel:
    """Return the label that the annotations of one recording make; messages call their file `name`.

    Raises:
        ScenarioError: they hold no speech, or that of several speakers or channels (`scenario.labels`).
    """
    if not annotations.speech:
        raise ScenarioError(f"{name}: it labels no speech", code="scenario.labels")
    for what, count in (("speakers", len(annotations.speakers)), ("channels", len(annotations.channels))):
        if count > 1:
            raise ScenarioError(
                f"{name}: it labels {count} {what}; a turn is one caller's: give a file of that caller alone, or set "
                "`speech_ms` in the turn",
                code="scenario.labels",
            )
    stretches = sorted((one.start_ms, one.end_ms) for one in join_stretches(annotations.speech))
    pauses = [(before[1], after[0]) for before, after in itertools.pairwise(stretches)]
    kept = tuple((start, end) for start, end in pauses if end - start >= PAUSE_MS)
    return HandLabel(stretches[0][0], max(end for _, end in stretches), kept, uncertainty_ms, name)


def _is_plain_text(path: Path) -> bool:
    """Return whether a file holds words in place of labels: no tab, and no line that begins with two numbers."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False  # the reader says what is wrong with it
    return "\t" not in text and not any(_TWO_NUMBERS.match(line) for line in text.splitlines())
