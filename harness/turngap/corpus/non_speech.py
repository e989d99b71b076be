"""What callers let be heard that is no word: keys as tones, a cough, an "mm-hm", nothing; synthesised, (n,), 8 kHz.

Keys follow ITU-T Q.23 (frequencies) and are held for 100 ms with 100 ms between them, over the 40 ms of Q.24.
"""

from __future__ import annotations

import numpy as np
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.comfort_noise import comfort_noise
from turngap.corpus.audio_sources import Utterance
from turngap.model.records import Clip, Pcm16

KEY_MS = 100
KEY_DBFS = -13.0
"""Of each of the two tones."""
KEYS = "123A456B789C*0#D"
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477, 1633)
_COUGHS_MS = ((130, 60), (110, 0))
"""Two bursts: (length, silence after it)."""


def silence(clip_id: str, ms: int) -> Clip:
    """Nobody speaks: comfort noise."""
    pcm = comfort_noise(ms * 8, clip_id)
    return Clip(clip_id, pcm, 0, None, 0.0, 0.0, "comfort noise", synthetic=True)


def keys(clip_id: str, digits: str, *, as_tones: bool) -> Clip:
    """Keys pressed: as tones in the audio, or as messages, each told when its key is let go."""
    step = 2 * KEY_MS * 8
    pcm = comfort_noise(step * len(digits) - KEY_MS * 8, clip_id)
    told = tuple((index * step + KEY_MS * 8 - 1, digit) for index, digit in enumerate(digits))
    if as_tones:
        for index, digit in enumerate(digits):
            pcm[index * step : index * step + KEY_MS * 8] = tone(digit)
        told = ()
    source = "keys as tones (ITU-T Q.23)" if as_tones else "keys as dtmf messages"
    return Clip(clip_id, pcm, 0, None, 0.0, 0.0, source, synthetic=True, keys=told)


def tone(digit: str) -> Pcm16:
    """The two tones of a key, 100 ms."""
    row, column = divmod(KEYS.index(digit), 4)
    t = np.arange(KEY_MS * 8) / SAMPLE_RATE
    amplitude = 32_768 * 10 ** (KEY_DBFS / 20) * np.sqrt(2)
    both = np.sin(2 * np.pi * ROWS_HZ[row] * t) + np.sin(2 * np.pi * COLUMNS_HZ[column] * t)
    pcm: Pcm16 = np.rint(amplitude * both).astype(np.int16)
    return pcm


def sound(name: str, seed: str) -> Utterance:
    """A sound by name: cough, mm-hm."""
    return {"cough": cough, "mm-hm": mm_hm}[name](seed)


def cough(seed: str) -> Utterance:
    """A cough of 300 ms: two bursts of noise that start at once and die away, with a throat's resonances."""
    rng = np.random.default_rng(list(seed.encode()))
    parts = []
    for burst_ms, rest_ms in _COUGHS_MS:
        n = burst_ms * 8
        spectrum = np.fft.rfft(rng.standard_normal(n))
        hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
        shape = sum(np.exp(-(((hz - peak) / width) ** 2)) for peak, width in ((500, 250), (1300, 400), (2400, 500)))
        burst = np.fft.irfft(spectrum * (0.1 + shape), n) * np.exp(-np.arange(n) / (0.35 * n))
        parts += [burst / np.abs(burst).max() * 16_000, np.zeros(rest_ms * 8)]
    # Silence after it: its end is where the second burst stops.
    pcm = np.rint(np.concatenate([np.zeros(800), *parts, np.zeros(800)])).astype(np.int16)
    return Utterance(pcm, None, "a cough, synthesised", synthetic=True)


def mm_hm(seed: str) -> Utterance:
    """A hummed "mm-hm" of 350 ms: two syllables through a closed mouth, the second higher, a breath between them."""
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
    return Utterance(pcm, None, 'an "mm-hm", synthesised', synthetic=True)
