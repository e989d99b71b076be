"""Clips without words: key tones, a cough, an "mm-hm", silence; all synthesised, shape (n,), 8 kHz.

Key tones follow ITU-T Q.23 (frequencies). Each lasts 100 ms with 100 ms between them; Q.24 requires at least 40 ms.
"""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.comfort_noise import make_comfort_noise
from turngap.corpus.audio_sources import SourceAudio
from turngap.model.records import Clip, Pcm16

KEY_MS = 100
KEY_DBFS = -13.0
"""The level of each of the two tones."""
KEYS = "123A456B789C*0#D"
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477, 1633)
_COUGH_BURSTS_MS = ((130, 60), (110, 0))
"""Two bursts: (length, silence after it)."""


def make_silence(clip_id: str, ms: int) -> Clip:
    """Return comfort noise: the caller says nothing."""
    pcm = make_comfort_noise(ms * 8, clip_id)
    return Clip(clip_id, pcm, 0, None, 0.0, 0.0, "comfort noise", synthetic=True)


def make_keys(clip_id: str, digits: str, *, as_tones: bool) -> Clip:
    """Return pressed keys: as tones in the audio, or as messages that are sent when each key is released."""
    step = 2 * KEY_MS * 8
    pcm = make_comfort_noise(step * len(digits) - KEY_MS * 8, clip_id)
    messages = tuple((index * step + KEY_MS * 8 - 1, digit) for index, digit in enumerate(digits))
    if as_tones:
        for index, digit in enumerate(digits):
            pcm[index * step : index * step + KEY_MS * 8] = make_key_tone(digit)
        messages = ()
    source = "keys as tones (ITU-T Q.23)" if as_tones else "keys as dtmf messages"
    return Clip(clip_id, pcm, 0, None, 0.0, 0.0, source, synthetic=True, keys=messages)


def make_key_tone(digit: str) -> Pcm16:
    """Return the two tones of a key, 100 ms."""
    row, column = divmod(KEYS.index(digit), 4)
    t = np.arange(KEY_MS * 8) / SAMPLE_RATE
    amplitude = 32_768 * 10 ** (KEY_DBFS / 20) * np.sqrt(2)
    both = np.sin(2 * np.pi * ROWS_HZ[row] * t) + np.sin(2 * np.pi * COLUMNS_HZ[column] * t)
    pcm: Pcm16 = np.rint(amplitude * both).astype(np.int16)
    return pcm


def make_sound(name: str, seed: str) -> SourceAudio:
    """Return a sound by its name: cough, mm-hm."""
    return {"cough": make_cough, "mm-hm": make_mm_hm}[name](seed)


def make_cough(seed: str) -> SourceAudio:
    """Return a cough of 300 ms: two bursts of noise with a throat's resonances that start at once and decay."""
    rng = np.random.default_rng(list(seed.encode()))
    parts = []
    for burst_ms, rest_ms in _COUGH_BURSTS_MS:
        n = burst_ms * 8
        spectrum = np.fft.rfft(rng.standard_normal(n))
        hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
        shape = sum(np.exp(-(((hz - peak) / width) ** 2)) for peak, width in ((500, 250), (1300, 400), (2400, 500)))
        burst = np.fft.irfft(spectrum * (0.1 + shape), n) * np.exp(-np.arange(n) / (0.35 * n))
        parts += [burst / np.abs(burst).max() * 16_000, np.zeros(rest_ms * 8)]
    # With silence after it, its end is the end of the second burst.
    pcm = np.rint(np.concatenate([np.zeros(800), *parts, np.zeros(800)])).astype(np.int16)
    return SourceAudio(pcm, None, "a cough, synthesised", synthetic=True)


def make_mm_hm(seed: str) -> SourceAudio:
    """Return a hummed "mm-hm" of 350 ms: two syllables with the mouth closed, the second higher, a breath between."""
    rng = np.random.default_rng(list(seed.encode()))
    root_hz = rng.uniform(105, 210)
    parts = []
    for ms, from_hz, to_hz in ((140, root_hz, root_hz * 0.92), (180, root_hz * 1.12, root_hz * 1.3)):
        n = ms * 8
        phase = 2 * np.pi * np.cumsum(np.linspace(from_hz, to_hz, n)) / SAMPLE_RATE
        hum = sum((0.55**k * np.sin((k + 1) * phase) for k in range(8)), np.zeros(n))
        parts.append(hum * np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 0.4 * 9000)
    breath = rng.standard_normal(30 * 8) * 300
    pcm = np.rint(np.concatenate([np.zeros(800), parts[0], breath, parts[1], np.zeros(800)])).astype(np.int16)
    return SourceAudio(pcm, None, 'an "mm-hm", synthesised', synthetic=True)
