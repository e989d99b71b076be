"""Noise behind callers: pink, babble, music and line noise as seeded loops, mixed with clips at a given ratio.

A loop is a float array of shape (samples,) with an RMS of 1 that repeats without a seam: sound placed near its end
continues at its start.

The signal-to-noise ratio is the power of the clean speech to that of the noise, both over the utterance's active 10 ms
frames (those within 35 dB of the 95th percentile of its frame levels), so that neither the silence before it nor its
pauses count. Mixing leaves the end of speech where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import LEVEL_FRAME_SAMPLES, levels_dbfs
from turngap.corpus.concatenation import ACTIVE_DBFS, PEAK_DBFS, normalise
from turngap.corpus.labels import BELOW_P95_DB, label_speech
from turngap.model.records import Clip, Pcm16

Loop = npt.NDArray[np.float64]
LOOP_SAMPLES = 80_000
"""10 s, unless the clip is longer."""
BABBLE_VOICES = 8
VOICE_PITCH = (0.82, 1.22)
"""One recorded speaker becomes several by being played slower or faster."""
PINK_FROM_HZ = 50.0
"""Below this frequency the spectrum of pink noise is flat: a telephone carries nothing there."""
_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
_BEAT_S = 0.25
_HARMONICS = (1.0, 0.5, 0.3, 0.15, 0.08)
_HUM = ((50, 0.5), (100, 1.0), (150, 0.6), (250, 0.4), (350, 0.2))


def mix_noise(clip: Clip, snr_db: float, make_loop: Callable[[int], Loop], *, speech: bool = True) -> Clip:
    """Return the clip with noise behind it, and the noise as its `bed`; `make_loop(samples)` makes the noise.

    Without speech the ratio is relative to speech at -20 dBFS. If the sum would exceed -1 dBFS, both are attenuated.
    """
    noise = make_loop(max(LOOP_SAMPLES, len(clip.pcm)))
    voice = clip.pcm.astype(np.float64)
    start = clip.speech_start_sample
    if speech:
        gain_db = measure_snr_db(voice[start:], noise[start : len(voice)]) - snr_db
    else:
        voice = np.zeros(len(voice))
        gain_db = ACTIVE_DBFS + 20 * np.log10(32_768) - snr_db
    noise = noise * 10 ** (gain_db / 20)
    mixed = voice + noise[: len(voice)]
    peak = max(float(np.abs(mixed).max(initial=0)), float(np.abs(noise).max(initial=0)))
    attenuation = min(1.0, 32_768 * 10 ** (PEAK_DBFS / 20) / peak) if peak else 1.0
    return replace(clip, pcm=_to_pcm16(mixed * attenuation), bed=_to_pcm16(noise * attenuation))


def measure_snr_db(speech: npt.NDArray[np.float64], noise: npt.NDArray[np.float64]) -> float:
    """Return the ratio of speech to noise in dB, over the speech's active frames; both of shape (n,)."""
    whole = len(speech) // LEVEL_FRAME_SAMPLES * LEVEL_FRAME_SAMPLES
    levels = levels_dbfs(_to_pcm16(speech[:whole]))
    active = levels >= np.percentile(levels, 95) - BELOW_P95_DB
    powers = [
        np.mean(np.square(samples[:whole]).reshape(-1, LEVEL_FRAME_SAMPLES)[active]) for samples in (speech, noise)
    ]
    return float(10 * np.log10(powers[0] / powers[1]))


def make_loop(kind: str, samples: int, seed: str, record_voices: Callable[[], Sequence[Pcm16]]) -> Loop:
    """Return a noise by its kind (pink, babble, music, line), shape (samples,); babble is made of `record_voices()`."""
    rng = np.random.default_rng(list(seed.encode()))
    if kind == "babble":
        return make_babble(samples, rng, record_voices())
    return {"pink": make_pink_noise, "music": make_music, "line": make_line_noise}[kind](samples, rng)


def make_pink_noise(samples: int, rng: np.random.Generator) -> Loop:
    """Return noise whose power falls by 3 dB an octave."""
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum = rng.standard_normal(len(frequencies)) + 1j * rng.standard_normal(len(frequencies))
    spectrum /= np.sqrt(np.maximum(frequencies, PINK_FROM_HZ))
    spectrum[0] = 0
    return _to_unit_rms(np.fft.irfft(spectrum, samples))


def make_babble(samples: int, rng: np.random.Generator, voices: Sequence[Pcm16]) -> Loop:
    """Return eight voices at once; each speaks random entries of `voices` one after the other, at its own pitch."""
    sum_ = np.zeros(samples)
    utterances = [_cut_to_speech(pcm) for pcm in voices]
    for _ in range(BABBLE_VOICES):
        rate, at, filled = rng.uniform(*VOICE_PITCH), int(rng.integers(samples)), 0
        while filled < samples:
            voice = utterances[int(rng.integers(len(utterances)))]
            voice = np.interp(np.arange(0, len(voice) - 1, rate), np.arange(len(voice)), voice)[: samples - filled]
            sum_[(at + filled + np.arange(len(voice))) % samples] += voice
            filled += len(voice)
    return _to_unit_rms(sum_)


def make_music(samples: int, rng: np.random.Generator) -> Loop:
    """Return music on hold: four chords in a row, plucked note by note, over a bass."""
    sum_ = np.zeros(samples)
    root_hz = 196.0 * 2 ** (int(rng.integers(-4, 5)) / 12)
    for beat in range(max(1, int(samples / SAMPLE_RATE / _BEAT_S))):
        chord = _CHORDS[beat // 8 % len(_CHORDS)]
        notes = [(chord[int(rng.integers(3))] + 12 * int(rng.integers(0, 2)), 0.35)]
        if beat % 4 == 0:
            notes.append((chord[0] - 12, 0.6))
        for semitones, seconds in notes:
            note = _pluck(root_hz * 2 ** (semitones / 12), seconds)
            sum_[(int(beat * _BEAT_S * SAMPLE_RATE) + np.arange(len(note))) % samples] += note
    return _to_unit_rms(sum_)


def make_line_noise(samples: int, rng: np.random.Generator) -> Loop:
    """Return the noise of a bad line: mains hum with its overtones under a hiss."""
    cycles = np.arange(samples) / samples
    hum = sum(
        (
            level * np.sin(2 * np.pi * (round(hz * samples / SAMPLE_RATE) * cycles + rng.uniform()))
            for hz, level in _HUM
        ),
        np.zeros(samples),
    )
    return _to_unit_rms(_to_unit_rms(hum) + 0.7 * rng.standard_normal(samples))


def _cut_to_speech(pcm: Pcm16) -> Loop:
    levelled = normalise(pcm)
    label = label_speech(levelled)
    speech: Loop = (levelled if label is None else levelled[label.start_sample : label.end_sample]).astype(np.float64)
    return speech


def _pluck(hz: float, seconds: float) -> Loop:
    t = np.arange(int(seconds * 3 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = (level * np.sin(2 * np.pi * hz * (n + 1) * t) for n, level in enumerate(_HARMONICS) if hz * (n + 1) < 3400)
    note: Loop = sum(tones, np.zeros(len(t))) * np.exp(-t / seconds) * np.minimum(1, t / 0.005)
    return note


def _to_unit_rms(noise: Loop) -> Loop:
    level = np.sqrt(np.mean(np.square(noise)))
    return noise / level if level > 0 else noise


def _to_pcm16(samples: npt.NDArray[np.float64]) -> Pcm16:
    return np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)
