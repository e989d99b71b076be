"""Measures when each endpointing policy confirms the end of a turn, and how often it does so inside a pause.

Measures decisions, not latency: the real detector and turn model get prompts sample by sample, and time is that of the
audio; the turn model answers `--model-ms` after its request. Pauses are of two kinds: between two prompts (a speaker
who seems to have finished and continues), and in the middle of one (its own pause, lengthened). `--noise pink:20` adds
noise, 20 dB under the speech.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from rich.console import Console
from rich.table import Table
from turngap.model.records import Pcm16
from turngap.verdict.stats import percentile, rate_upper
from turngap_agent import profile
from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.endpointing.silero.engine import SileroEngine
from turngap_agent.endpointing.silero.settings import SileroSettings
from turngap_agent.endpointing.smart_turn.engine import SmartTurn
from turngap_agent.endpointing.smart_turn.settings import SmartTurnSettings
from turngap_agent.profile.sections import EndpointingSettings

from benchmarks.promises import check_at_most, make_parser, print_progress, print_result
from benchmarks.prompt_tracks import SpeechTrack, add_noise, make_tracks

SMART_TURN = "model={engine: smart_turn}"
POLICIES: tuple[tuple[str, ...], ...] = (
    ("policy=silence", "min_silence_ms=192"),
    ("policy=silence", "min_silence_ms=320"),
    ("policy=silence",),
    ("policy=speculative", "drop_db=null"),
    ("policy=speculative", "provisional_ms=64"),
    ("policy=speculative", "provisional_ms=96"),
    ("policy=speculative", "floor_db=null"),
    ("policy=speculative", "floor_db=null", "noise_ms=0"),
    ("policy=speculative",),
    ("policy=speculative", SMART_TURN),
    ("policy=speculative", SMART_TURN, "min_silence_ms=192"),
    ("policy=speculative", SMART_TURN, "min_silence_ms=320"),
    ("policy=speculative", SMART_TURN, "threshold=0.9", "doubt=0.5"),
)
"""The rows: overrides of `BASE` and `SAFE_MS`; `smart_turn` confirms when `speculative` does."""
BASE = ("pace=null", "cut_off_rate=null", "model=null", "max_silence_ms=800", "provisional_ms=192")
"""Profile `cpu` without its pace and its turn model: one silence for every turn."""
SAFE_MS = 416
"""The silence of rows that set none."""
SHORT_PAUSE_MS = 400
"""No pause up to this length may end a turn."""
ONSET_SAMPLES = 768
"""An end confirmed this soon after a pause was decided before the detector could notice the speech."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of one policy on one track; times count from the end of speech."""

    provisional_ms: float | None
    """The last provisional end before the confirmation; None if the turn was cut off or the track has a pause."""
    confirmed_ms: float | None
    """The confirmed end; None as above."""
    attempts: int
    """The number of provisional ends."""
    cut_off: bool
    """An end was confirmed in the track's pause, or, in a track without a pause, before the end of speech."""


@dataclass(slots=True)
class EndpointingModels:
    """Detector and turn model; the turn model's answers are cached."""

    silero: SileroEngine
    smart_turn: SmartTurn
    model_samples: int
    cache: dict[str, float] = field(default_factory=dict)

    def voicings(self, track: SpeechTrack) -> list[Voicing]:
        """Return the detector's output for the whole track."""
        return asyncio.run(self.silero.detector().push(track.pcm))

    def completeness(self, pcm: Pcm16) -> float:
        """Return the turn model's probability that a turn with this audio is complete."""
        key = hashlib.sha256(pcm.tobytes()).hexdigest()[:24]
        if key not in self.cache:
            self.cache[key] = asyncio.run(self.smart_turn.completeness(np.asarray(pcm / 32_768, np.float32)))
        return self.cache[key]

    def decide(self, settings: EndpointingSettings, track: SpeechTrack, voicings: Sequence[Voicing]) -> Decisions:
        """Run a policy over a track until it confirms the end, or the track's pause is over."""
        provisional: list[int] = []
        until = len(track.pcm) if track.pause is None else track.pause[1] + ONSET_SAMPLES
        for event in self._events(settings, track, voicings):
            if event.at_sample > until:
                break
            if event.kind is EventKind.PROVISIONAL_END:
                provisional.append(event.at_sample)
            if event.kind is not EventKind.CONFIRMED_END or (track.pause and event.at_sample < track.pause[0]):
                continue
            if track.pause or event.at_sample < track.end_sample:
                return Decisions(None, None, len(provisional), cut_off=True)
            after_ms = [(at - track.end_sample) / 8 for at in (provisional[-1], event.at_sample)]
            return Decisions(after_ms[0], after_ms[1], len(provisional), cut_off=False)
        return Decisions(None, None, len(provisional), cut_off=False)

    def _events(
        self, settings: EndpointingSettings, track: SpeechTrack, voicings: Sequence[Voicing]
    ) -> Iterator[EndpointEvent]:
        policy = make_endpointer(settings)
        question: EndpointEvent | None = None
        for voicing in voicings:
            if question is not None and question.at_sample + self.model_samples <= voicing.end_sample:
                audio = track.pcm[question.speech_start_sample : question.at_sample]
                yield from policy.completion(question.at_sample, self.completeness(audio))
                question = None
            for event in policy.push(voicing):
                question = event if event.kind is EventKind.COMPLETION_ASKED else question
                yield event


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """The figures of one policy."""

    policy: str
    provisional_ms: float | None
    """Median, counted from the end of speech, over the tracks without a pause."""
    confirmed_ms: float | None
    confirmed_p95_ms: float | None
    never: int
    """How many of those tracks ended without a confirmed end."""
    attempts: float
    """Mean, over the tracks without a pause."""
    cut_own: tuple[int, int]
    """Cut-offs in a prompt's own pause, and number of prompts."""
    cut: dict[str, tuple[int, int]]
    """Cut-offs in a pause, and number of tracks, by kind and length of the pause."""
    cut_short: tuple[int, int]
    """Cut-offs in a pause up to SHORT_PAUSE_MS, and number of prompts and pairs. Each counts once, whatever its pauses,
    since the pauses of one prompt are not independent trials."""


def measure_policy(
    models: EndpointingModels, overrides: Sequence[str], tracks: Sequence[tuple[SpeechTrack, list[Voicing]]]
) -> PolicyRow:
    """Run one policy over all tracks."""
    changes = (*BASE, f"min_silence_ms={SAFE_MS}", *overrides)
    settings = profile.load("cpu", tuple(f"endpointing.{change}" for change in changes)).endpointing
    decisions = [(track, models.decide(settings, track, voicings)) for track, voicings in tracks]
    ends = [decision for track, decision in decisions if track.pause is None]
    cut: dict[str, tuple[int, int]] = {}
    short: dict[tuple[str, str], bool] = {}
    for track, decision in decisions:
        if track.pause is not None:
            cut_offs, n = cut.get(track.key, (0, 0))
            cut[track.key] = (cut_offs + decision.cut_off, n + 1)
            if track.pause_ms <= SHORT_PAUSE_MS:
                trial = (track.kind, track.name)
                short[trial] = short.get(trial, False) or decision.cut_off
    confirmed = [end.confirmed_ms for end in ends if not end.cut_off]
    return PolicyRow(
        policy=", ".join(overrides).removeprefix("policy="),
        provisional_ms=percentile([end.provisional_ms for end in ends if not end.cut_off], 0.5),
        confirmed_ms=percentile(confirmed, 0.5),
        confirmed_p95_ms=percentile(confirmed, 0.95),
        attempts=sum(end.attempts for end in ends) / len(ends),
        cut_own=(sum(end.cut_off for end in ends), len(ends)),
        never=sum(end.confirmed_ms is None and not end.cut_off for end in ends),
        cut=cut,
        cut_short=(sum(short.values()), len(short)),
    )


def main() -> int:
    """Print the table; return 1 if the profile's own speculation cuts off too many short pauses."""
    parser = make_parser(__doc__)
    parser.add_argument("--prompts", type=int, default=150, help="prompts of each kind (default 150)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model-ms", type=int, default=60, help="delay of the turn model's answer (default 60)")
    parser.add_argument("--noise", help="noise behind the speech, as in pink:20; without promises")
    options = parser.parse_args()
    tracks = make_tracks(options.prompts, options.seed)
    tracks = add_noise(tracks, options.noise) if options.noise else tracks
    models = EndpointingModels(SileroEngine(SileroSettings()), SmartTurn(SmartTurnSettings()), options.model_ms * 8)
    print_progress(f"the detector processes {len(tracks)} tracks")
    detected = [(track, models.voicings(track)) for track in tracks]
    rows = []
    for overrides in POLICIES:
        print_progress(f"policy {', '.join(overrides)}")
        rows.append(measure_policy(models, overrides, detected))
    if not options.json:
        _print_rows(rows)
    own = next(row for row in rows if row.policy == "speculative")
    cut, n = own.cut_short
    bound = rate_upper(cut, n)
    promise = f"speculation cuts off at most 2 % of pauses up to {SHORT_PAUSE_MS} ms, at 95 % confidence"
    promises = [check_at_most(promise, None if bound is None else 100 * bound, 2.0, "%")]
    if options.noise:
        promises = [replace(row, holds=None) for row in promises]
    return print_result("endpointing", promises, {"rows": [asdict(row) for row in rows]}, as_json=options.json)


def _print_rows(rows: Sequence[PolicyRow]) -> None:
    keys = sorted(rows[0].cut, key=lambda key: (key.split()[0], int(key.split()[1])))
    table = Table(title="ms after the end of speech; cut-offs / tracks", title_justify="left")
    for heading in ("policy", "provisional", "confirmed", "p95", "never", "attempts", "own pauses", *keys):
        table.add_column(heading, justify="left" if heading == "policy" else "right", overflow="fold")
    for row in rows:
        times_ms = (row.provisional_ms, row.confirmed_ms, row.confirmed_p95_ms)
        times = ["–" if value is None else f"{value:.0f}" for value in times_ms]
        cuts = [f"{cut}/{n}" for cut, n in (row.cut_own, *(row.cut[key] for key in keys))]
        table.add_row(row.policy, *times, str(row.never), f"{row.attempts:.2f}", *cuts)
    Console(width=200).print(table, markup=False)


if __name__ == "__main__":
    sys.exit(main())
