"""Follows a detector's voicings with hysteresis: where the caller's utterance began, and how long it has been silent.

All endpointing policies share it: an `Utterance` holds the state, a policy decides what it means.
"""

from __future__ import annotations

import math

from turngap_agent.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.noise_floor import FAINTEST_DBFS, NoiseFloor
from turngap_agent.profile.sections import EndpointingSettings
from turngap_agent.telephony import SAMPLE_RATE

_DECAY_DB = 0.05
"""A window: a loud start counts for 6 dB less after about 4 s of speech."""

_STIR_DB = 6.0
"""A sound this much over the quiet of a pause is no line noise."""

_CLEAR_DB = 15.0
"""A level that is less than this below the speech is no silence, however near it is to the line's floor."""

_HIDDEN_MS_PER_DB = 12.0
"""What noise hides of the end of speech, a dB over the level at which it ends on a clean line, as chosen on prompts in
pink noise (docs/endpointing.md)."""

_MOST_HIDDEN_DB = 20.0


def samples(milliseconds: float) -> int:
    """Return milliseconds as samples at 8 kHz."""
    return round(milliseconds * SAMPLE_RATE / 1000)


class Utterance:
    """The state of the caller's speech after the last voicing, in samples from the stream's start at 8 kHz.

    Speech begins with a window at `speech_probability` and lasts until one falls below `silence_probability`; a run
    shorter than `min_speech_ms` does not count. A detector reports speech for some windows after its end; with
    `drop_db` a window that far below the utterance's level is not speech, whatever the detector says, nor is one as
    faint as the line itself (`floor_db`).
    """

    def __init__(self, settings: EndpointingSettings, drop_db: float | None = None) -> None:
        self._settings = settings
        self._drop_db = drop_db
        self._floor_db = None if drop_db is None else settings.floor_db
        self._line = NoiseFloor()
        self._level_dbfs = -math.inf
        """The loudest level of the utterance, falling by `_DECAY_DB` a window."""
        self._floor = 0
        self._run_start: int | None = None
        self.now = 0
        """How much audio has been judged."""
        self.voiced = False
        """Whether the last window belongs to speech."""
        self.began = False
        """Whether an utterance has started: it had `min_speech_ms` of speech in a run."""
        self.stirring = False
        """Whether it was quiet after the last speech and is no longer: the caller may be going on."""
        self._floor_dbfs = math.inf
        """The quietest level since the last speech; infinite if it was never far below that."""
        self._quiet_from: int | None = None
        """Where the current quiet began."""
        self._detected = False
        """Whether the detector still reports speech."""
        self._detected_until = 0
        """Where it last did."""
        self._faint_from: int | None = None
        """Where the caller's line became as faint as its noise floor."""
        self.last_speech = 0
        """Where the utterance's last voiced window ended."""

    def push(self, voicing: Voicing) -> bool:
        """Take the next voicing; return True if the utterance began with it."""
        window_start, self.now = self.now, voicing.end_sample
        quiet, faint = self._far_below(voicing.level_dbfs), self._is_faint(voicing.level_dbfs)
        self._detected = voicing.probability >= self._least(self._detected) and not quiet
        self.voiced = voicing.probability >= self._least(self.voiced) and not quiet and not faint
        self.stirring = self.began and voicing.level_dbfs > self._floor_dbfs + _STIR_DB
        if self._detected:
            self._detected_until = self.now
        self._follow_pause(window_start, voicing.level_dbfs, quiet)
        self._faint_from = (window_start if self._faint_from is None else self._faint_from) if faint else None
        self._line.push(voicing.level_dbfs)
        if not self.voiced:
            if not self.began:
                self._run_start = None
                self._level_dbfs = -math.inf
            return False
        self._level_dbfs = max(self._level_dbfs - _DECAY_DB, voicing.level_dbfs)
        if self._run_start is None:
            self._run_start = window_start
        self.last_speech = self.now
        if self.began or self.now - self._run_start < samples(self._settings.min_speech_ms):
            return False
        self.began = True
        return True

    def end(self) -> None:
        """End the utterance; the next one's pre-roll does not reach back into it."""
        self._floor = self.now if self.voiced else self.last_speech
        self._run_start, self.began, self.voiced = None, False, False
        self._level_dbfs, self._floor_dbfs, self._quiet_from, self._faint_from = -math.inf, math.inf, None, None

    def _follow_pause(self, window_start: int, level_dbfs: float, quiet: bool) -> None:
        if self._detected or not self.began:
            self._quiet_from, self._floor_dbfs = None, math.inf
        elif quiet:
            self._quiet_from = window_start if self._quiet_from is None else self._quiet_from
            self._floor_dbfs = min(self._floor_dbfs, level_dbfs)
        else:
            self._quiet_from = None

    def _far_below(self, level_dbfs: float) -> bool:
        return self._drop_db is not None and level_dbfs < self._level_dbfs - self._drop_db

    def _least(self, speaking: bool) -> float:
        return self._settings.silence_probability if speaking else self._settings.speech_probability

    def _is_faint(self, level_dbfs: float) -> bool:
        """Whether a window is as faint as the line's noise, and far below the speech.

        What was faint stays so for up to `_STIR_DB`, since noise is uneven.
        """
        if self._floor_db is None or not self.began or level_dbfs > self._level_dbfs - _CLEAR_DB:
            return False
        margin_db = self._floor_db if self._faint_from is None else max(self._floor_db, _STIR_DB)
        floor_dbfs = self._line.level_dbfs
        if floor_dbfs > self._level_dbfs - _CLEAR_DB:  # speech without a pause: the floor is not known
            floor_dbfs = FAINTEST_DBFS
        return level_dbfs <= max(floor_dbfs, FAINTEST_DBFS) + margin_db

    def event(self, kind: EventKind, confirmed_by: ConfirmedBy | None = None) -> EndpointEvent:
        """Return a decision about the utterance in its current state."""
        return EndpointEvent(kind, self.now, self.start, self.last_speech, confirmed_by)

    @property
    def start(self) -> int:
        """Where the utterance began, the pre-roll included."""
        begun = self.now if self._run_start is None else self._run_start
        return max(self._floor, begun - samples(self._settings.pre_roll_ms))

    @property
    def unvoiced_samples(self) -> int:
        """How long the detector has heard no speech; 0 outside an utterance."""
        return self.now - self._detected_until if self.began else 0

    @property
    def silence_samples(self) -> int:
        """How long it has been silent since the utterance's last speech; 0 outside an utterance.

        With `drop_db` silence must be quiet: a soft tail that the detector no longer hears is not silence, nor is a
        sound in a pause that was quiet before. If a pause never becomes quiet, on a noisy line, the detector decides.
        """
        if self._quiet_from is not None:
            return self.now - self._quiet_from
        return self.unvoiced_samples if math.isinf(self._floor_dbfs) else 0

    @property
    def never_quiet(self) -> bool:
        """Whether the current pause was never quiet: the line is noisy, and the detector alone decides."""
        return self._drop_db is not None and math.isinf(self._floor_dbfs)

    @property
    def faint_samples(self) -> int:
        """How long the line has been as faint as its own noise; 0 outside an utterance, and without `floor_db`."""
        return self.now - self._faint_from if self.began and self._faint_from is not None else 0

    @property
    def hidden_samples(self) -> int:
        """How much of the end of speech the noise hides: none on a line that is `drop_db` below the speech."""
        if self._drop_db is None:
            return 0
        over_db = self._line.level_dbfs - (self._level_dbfs - self._drop_db)
        return samples(_HIDDEN_MS_PER_DB * min(_MOST_HIDDEN_DB, max(0.0, over_db)))

    @property
    def length_samples(self) -> int:
        """From where the utterance began to its last speech, pauses included; 0 outside an utterance."""
        return self.last_speech - self._run_start if self.began and self._run_start is not None else 0

    @property
    def too_long(self) -> bool:
        """Whether the utterance has reached `max_turn_ms`."""
        begun = self._run_start if self.began else None
        return begun is not None and self.now - begun >= samples(self._settings.max_turn_ms)
