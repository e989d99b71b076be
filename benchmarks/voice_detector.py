"""Measures how late a voice detector is behind the level of a reply, over backgrounds, and what it finds in them alone.

    python -m benchmarks.voice_detector [--prompts 40] [--json]                  about 1 minute

The second opinion on replies (`turngap.findings.voice_opinion`): the detector of `turngap_agent.transcribe` hears
recorded prompts with steady backgrounds behind them, as an agent's ambience has them. The onset is the first sample
over the level that counts, in the clean prompt. Measures decisions, not latency.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from turngap.caller.onset import Segment, find_onset
from turngap.clock import to_ms
from turngap.corpus import background_noise
from turngap.corpus.audio_sources import PromptLibrary
from turngap.corpus.background_noise import Loop
from turngap.findings.voice_opinion import LEAST_VOICE_MS, judge_onset
from turngap.model.finding import FindingKind
from turngap.model.records import Clip, Pcm16
from turngap.verdict import stats
from turngap_agent.resample import to_16k
from turngap_agent.telephony import mulaw
from turngap_agent.transcribe import find_voice

from benchmarks.promises import Promise, format_number, make_parser, print_progress, print_result, print_table
from benchmarks.prompt_tracks import load_sentence

KINDS, LEVELS_DBFS = ("line", "pink", "music"), (-50, -40, -30)
LEAD_SAMPLES = 4000
"""Background before each prompt, which an agent plays before it answers."""
LOOP_SAMPLES = 80_000
ALONE = 8
"""Pieces of each background alone, 1 to 5 s."""


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """The result of one background; `dbfs` is None for no background."""

    background: str
    dbfs: int | None
    prompts: int
    p50_ms: float | None
    """The detector's voice after the level's onset."""
    p95_ms: float | None
    worst_ms: float | None
    late: int
    """Prompts of which the findings would say that the voice was late ..."""
    no_voice: int
    """... or that there was none."""
    alone: int
    """Pieces of the background alone ..."""
    voices: int
    """... in which a voice was found."""


def measure_rows(clips: Sequence[Clip]) -> Iterator[ConditionRow]:
    """Yield the result of each background, that of none first."""
    yield _measure_row("none", None, clips, np.zeros(LOOP_SAMPLES))
    for kind in KINDS:
        loop = background_noise.make_loop(kind, LOOP_SAMPLES, kind, list)
        for dbfs in LEVELS_DBFS:
            yield _measure_row(kind, dbfs, clips, loop * 10 ** (dbfs / 20) * 32_768)


def main() -> int:
    """Print the table; return 1 if a voice is found in a background alone."""
    parser = make_parser(__doc__)
    parser.add_argument("--prompts", type=int, default=40, help="prompts per background (default 40)")
    options = parser.parse_args()
    library = PromptLibrary.fetch(print_progress)
    names = library.list_names()
    random.Random(1).shuffle(names)
    clips = [clip for name in names[: 8 * options.prompts] if (clip := load_sentence(library, name)) is not None]
    rows = []
    for row in measure_rows(clips[: options.prompts]):
        print_progress(f"{row.background} {row.dbfs}")
        rows.append(row)
    columns = ("background", "dBFS", "prompts", "p50", "p95", "worst", "late", "no voice", "alone", "voices in it")
    table = [
        (
            row.background,
            "–" if row.dbfs is None else str(row.dbfs),
            str(row.prompts),
            *(format_number(value) for value in (row.p50_ms, row.p95_ms, row.worst_ms)),
            *map(str, (row.late, row.no_voice, row.alone, row.voices)),
        )
        for row in rows
    ]
    print_table("voice behind the level", columns, table, as_json=options.json)
    found, alone = sum(row.voices for row in rows), sum(row.alone for row in rows)
    promises = [Promise("voices found in a background alone", f"{found} of {alone}", found, holds=not found)]
    return print_result("voice_detector", promises, {"rows": [asdict(row) for row in rows]}, as_json=options.json)


def _measure_row(kind: str, dbfs: int | None, clips: Sequence[Clip], bed: Loop) -> ConditionRow:
    delays_ms: list[float] = []
    kinds: list[FindingKind] = []
    for at, clip in enumerate(clips):
        clean = np.pad(clip.pcm, (LEAD_SAMPLES, 0))
        onset_ns = find_onset([Segment(0, clean)])
        if onset_ns is None:
            continue
        onset_ms = to_ms(onset_ns)
        mixed = _to_pcm(clean.astype(np.float64) + np.resize(np.roll(bed, 7919 * at), len(clean)))
        voice = [(start_ms - onset_ms, end_ms - onset_ms) for start_ms, end_ms in _hear(mixed)]
        finding = judge_onset(len(clean) / 8 - onset_ms, voice)
        kinds += [finding.kind] if finding is not None else []
        begins_ms = [start for start, end in voice if end - max(0.0, start) >= LEAST_VOICE_MS]
        delays_ms += begins_ms[:1]
    lengths = [random.Random(at).randrange(8_000, 40_000) for at in range(ALONE if dbfs is not None else 0)]
    return ConditionRow(
        background=kind,
        dbfs=dbfs,
        prompts=len(clips),
        p50_ms=stats.percentile(delays_ms, 0.5),
        p95_ms=stats.percentile(delays_ms, 0.95),
        worst_ms=max(delays_ms, default=None),
        late=kinds.count(FindingKind.LATE_VOICE),
        no_voice=kinds.count(FindingKind.NO_VOICE),
        alone=len(lengths),
        voices=sum(bool(_hear(_to_pcm(np.roll(bed, 7919 * at)[:n]))) for at, n in enumerate(lengths)),
    )


def _hear(pcm: Pcm16) -> list[tuple[float, float]]:
    """Return where the detector finds a voice in 8 kHz audio, as a caller hears it; ms, shape of (start, end)."""
    head = 300  # ms: as the recogniser's process pads what it hears
    audio = np.asarray(mulaw.decode(mulaw.encode(pcm)) / 32_768, np.float32)
    wide = to_16k(np.pad(audio, (head * 8, 700 * 8)))
    return [(start_ms - head, end_ms - head) for start_ms, end_ms in find_voice(wide)]


def _to_pcm(samples: Loop) -> Pcm16:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)


if __name__ == "__main__":
    sys.exit(main())
