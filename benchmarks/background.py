"""Counts words that the recogniser finds in noise alone, and prompts that it loses in voices, music or noise.

    python -m benchmarks.background [--prompts 40] [--json]                      about 3 minutes

The recogniser of profile `cpu` gets pieces of noise alone, and prompts with noise behind them; from a probability of
`stt.no_speech` on, its words are dropped. Measures decisions, not latency.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from turngap.corpus import background_noise
from turngap.corpus.audio_sources import PromptLibrary
from turngap.corpus.background_noise import Loop
from turngap.corpus.concatenation import ACTIVE_DBFS
from turngap.model.records import Clip, Pcm16
from turngap_agent import profile
from turngap_agent.stt.faster_whisper.engine import FasterWhisper
from turngap_agent.stt.faster_whisper.settings import FasterWhisperSettings
from turngap_agent.telephony import mulaw

from benchmarks.promises import Promise, make_parser, print_progress, print_result, print_table
from benchmarks.prompt_tracks import load_sentence

KINDS, RATIOS_DB = ("babble", "music", "pink"), (20, 10, 5, 0)
NOISE_PIECES = 8
"""Number of pieces of each noise alone, 1 to 5 s."""
LOOP_SAMPLES = 80_000
HARD_DB = 5
"""At this ratio and above no prompt may be lost; with less, some may be."""


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """The result of one condition."""

    noise: str
    snr_db: int | None
    spoken: int
    """Prompts with that noise behind them ..."""
    lost: int
    """... of which no word was heard."""
    alone: int
    """Pieces of the noise alone, as loud as behind speech at -20 dBFS ..."""
    invented: int
    """... in which words were heard."""


def measure_rows(stt: FasterWhisper, clips: Sequence[Clip]) -> Iterator[ConditionRow]:
    """Yield the result of every condition, the clean one first."""
    lost = sum(not _transcribe(stt, clip.pcm) for clip in clips)
    yield ConditionRow("none", None, len(clips), lost, 0, 0)
    for kind in KINDS:
        loop = background_noise.make_loop(kind, LOOP_SAMPLES, kind, lambda: [clip.pcm for clip in clips[:12]])
        for snr_db in RATIOS_DB:
            mixed = [_mix_behind(clip, snr_db, np.roll(loop, 7919 * at)) for at, clip in enumerate(clips)]
            gain = 10 ** ((ACTIVE_DBFS - snr_db) / 20) * 32_768
            lengths = [random.Random(at).randrange(8_000, 40_000) for at in range(NOISE_PIECES)]
            pieces = [_to_pcm(np.roll(loop, 7919 * at)[:n] * gain) for at, n in enumerate(lengths)]
            lost = sum(not _transcribe(stt, pcm) for pcm in mixed)
            yield ConditionRow(
                kind, snr_db, len(mixed), lost, NOISE_PIECES, sum(bool(_transcribe(stt, pcm)) for pcm in pieces)
            )


def main() -> int:
    """Print the table; return 1 if words are found in noise alone, or a prompt well above the noise is lost."""
    parser = make_parser(__doc__)
    parser.add_argument("--prompts", type=int, default=40, help="prompts per condition (default 40)")
    options = parser.parse_args()
    settings = profile.load("cpu").stt
    assert isinstance(settings, FasterWhisperSettings)
    prompts = PromptLibrary.fetch(print_progress)
    names = prompts.list_names()
    random.Random(1).shuffle(names)
    clips = [clip for name in names[: 8 * options.prompts] if (clip := load_sentence(prompts, name)) is not None]
    rows = []
    for row in measure_rows(FasterWhisper(settings), clips[: options.prompts]):
        print_progress(f"{row.noise} {row.snr_db}")
        rows.append(row)
    columns = ("noise", "dB", "prompts", "lost", "alone", "words invented")
    texts = [tuple("–" if value is None else str(value) for value in asdict(row).values()) for row in rows]
    print_table(f"stt.no_speech = {settings.no_speech:g}", columns, texts, as_json=options.json)
    clear = [row for row in rows if row.snr_db is None or row.snr_db >= HARD_DB]
    counts = [
        (
            f"prompts lost, clean and at {HARD_DB} dB or more",
            sum(row.lost for row in clear),
            sum(r.spoken for r in clear),
        ),
        ("words heard in noise alone", sum(row.invented for row in rows), sum(row.alone for row in rows)),
    ]
    promises = [Promise(name, f"{bad} of {n}", bad, holds=not bad) for name, bad, n in counts]
    return print_result("background", promises, {"rows": [asdict(row) for row in rows]}, as_json=options.json)


def _mix_behind(clip: Clip, snr_db: int, loop: Loop) -> Pcm16:
    return background_noise.mix_noise(clip, snr_db, lambda samples: np.resize(loop, samples)).pcm


def _to_pcm(samples: Loop) -> Pcm16:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)


def _transcribe(stt: FasterWhisper, pcm: Pcm16) -> str:
    audio = np.asarray(mulaw.decode(mulaw.encode(pcm)) / 32_768, np.float32)
    return asyncio.run(stt.transcribe(audio)).text


if __name__ == "__main__":
    sys.exit(main())
