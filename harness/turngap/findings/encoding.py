"""Audio that is not what the stream says: linear PCM or A-law sent as μ-law, file headers, base64 twice. Pure.

The bytes of a message follow from its samples: each was decoded as one byte of μ-law, and encoding gives it back. All
thresholds were set so that real and synthetic speech, noise, music and tones are far from them (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from turngap_agent.telephony import mulaw

from turngap.caller.alaw import alaw_values
from turngap.model.finding import Finding, FindingKind
from turngap.model.records import Pcm16
from turngap.scoring.heard_sound import find_header_bytes

Bytes = npt.NDArray[np.uint8]
Sound = npt.NDArray[np.float64]

LEAST_SAMPLES = 1600
"""200 ms: less says nothing."""
MOST_SAMPLES = 480_000
"""The first minute of a call is examined."""
BLOCK = 4000
PARITY_BITS = 0.8
"""Bytes at even and at odd places of μ-law differ in entropy by up to 0.05 bit, those of 16-bit speech by over 1.3."""
LOW_BYTE_BITS = 6.0
"""The low bytes of 16-bit speech are nearly random."""
ALAW_RATIO = 1.3
"""Real μ-law reads 1.4 to 10 times as smooth as μ-law than as A-law; A-law the other way round."""
MOST_AT_FULL_SCALE = 0.05
"""With more samples at full scale the sound is clipped, which is rough too."""
SWAPPED_RATIO = 4.0
NOISE_ROUGHNESS = (1.0, 3.0)
"""Of swapped bytes: white noise has 2, a tone near 4 kHz 4."""
BASE64_SHARE = 0.999
DOUBLED_SHARE, DOUBLED_BY_CHANCE = 0.95, 0.6
FLOAT_SHARE = 0.9
EIGHT_BIT_LOUD, EIGHT_BIT_LOUD_SHARE = 12_000.0, 0.15
"""Half of the small samples of 8-bit PCM are among the loudest of μ-law."""
EIGHT_BIT_RATIO, EIGHT_BIT_ROUGHNESS = 1.8, 0.25
"""Real μ-law has a ratio of 1.0 to 1.2, or is a tone, which is smooth."""
CLIPPED_RUN, CLIPPED_SHARE = 3, 0.003
"""Samples at full scale, three in a row or more, as a share of the audible ones."""
DC_SAMPLES = 164
"""0.5 % of full scale, -46 dBFS."""
SILENCE_RUN = 160
"""So many equal samples in a row (20 ms) are meant as silence; they are none if their level is over ..."""
SILENCE_LEVEL = 100.0
RANDOM_BYTES, RANDOM_BITS = 8000, 7.9
"""Compressed and encrypted bytes are random: bits a byte, of at least so many bytes. 21 recordings of several talkers
and rooms, at nine levels, had 7.86 at most; most MP3 and FLAC streams of them have 7.92 to 7.98, Opus 7.96 and more."""
_FULL_SCALE = 32_000
_ACTIVE = 300.0
_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", np.uint8)
_FILES = (b"OggS", b"fLaC", b"ID3\x03", b"ID3\x04", b"\x1aE\xdf\xa3")


def find_encoding_faults(messages: Sequence[Pcm16]) -> list[Finding]:
    """Return what is wrong with the encoding of a call's messages, (n,) samples each as they were received."""
    findings = []
    headers = [find_header_bytes(pcm) for pcm in messages]
    if any(headers):
        findings.append(Finding(kind=FindingKind.FILE_HEADER, count=sum(map(bool, headers)), value=max(headers)))
    compressed = sum(any(mulaw.encode(pcm[:4]) == name for name in _FILES) for pcm in messages if len(pcm) >= 4)
    if compressed:
        return [*findings, Finding(kind=FindingKind.COMPRESSED, count=compressed)]
    bodies = [pcm[header:] for pcm, header in zip(messages, headers, strict=True)]
    pcm = np.concatenate([np.empty(0, np.int16), *bodies])[:MOST_SAMPLES]
    if len(pcm) < LEAST_SAMPLES:
        return findings
    count = sum(len(body) > 0 for body in bodies)
    data = np.frombuffer(mulaw.encode(pcm), np.uint8)
    if float(np.isin(data, _BASE64).mean()) >= BASE64_SHARE:
        return [*findings, Finding(kind=FindingKind.BASE64_TWICE, count=count)]
    if is_float_pcm(data):
        return [*findings, Finding(kind=FindingKind.FLOAT_PCM, count=count)]
    if has_silent_channel(pcm):
        return [*findings, Finding(kind=FindingKind.SECOND_CHANNEL, count=count)]
    linear = find_linear_pcm(data)
    if linear is not None:
        return [*findings, Finding(kind=linear, count=count)]
    if is_linear_8bit(data):
        return [*findings, Finding(kind=FindingKind.LINEAR_8BIT, count=count)]
    if is_random(data):
        return [*findings, Finding(kind=FindingKind.COMPRESSED, count=count)]
    if is_byte_swapped(pcm):
        return [*findings, Finding(kind=FindingKind.BYTE_SWAPPED, count=count)]
    if is_alaw(data):
        return [*findings, Finding(kind=FindingKind.ALAW, count=count)]
    if is_doubled(pcm):
        findings.append(Finding(kind=FindingKind.DOUBLED_SAMPLES, count=count))
    return findings + _find_levels(pcm.astype(np.float64))


def find_linear_pcm(data: Bytes) -> FindingKind | None:
    """Return the byte order of 16-bit PCM in the bytes of a call, shape (n,); None if they are no such PCM.

    Most blocks of 4,000 bytes that vary at all must agree: at every other place the bytes are nearly random, and at the
    others, the high bytes, they repeat.
    """
    votes = {FindingKind.LINEAR_PCM: 0, FindingKind.LINEAR_PCM_SWAPPED: 0}
    blocks = 0
    for first in range(0, len(data) - LEAST_SAMPLES + 1, BLOCK):
        pairs = data[first : first + BLOCK]
        pairs = pairs[: len(pairs) // 2 * 2].reshape(-1, 2)
        pairs = pairs[(pairs != 0).any(axis=1)]
        if len(pairs) < LEAST_SAMPLES // 4:
            continue
        even, odd = _entropy(pairs[:, 0]), _entropy(pairs[:, 1])
        if max(even, odd) < 3:
            continue  # a silence or a tone
        blocks += 1
        if even - odd > PARITY_BITS and even > LOW_BYTE_BITS:
            votes[FindingKind.LINEAR_PCM] += 1
        elif odd - even > PARITY_BITS and odd > LOW_BYTE_BITS:
            votes[FindingKind.LINEAR_PCM_SWAPPED] += 1
    kind = max(votes, key=votes.__getitem__)
    return kind if blocks and sum(votes.values()) > blocks / 2 else None


def is_random(data: Bytes) -> bool:
    """Return whether the bytes, shape (n,), are as good as random, as those of an MP3 stream are.

    The entropy of a sample is too small by (values - 1) / (2 n ln 2) bits (Miller, 1955), which is added.
    """
    if len(data) < RANDOM_BYTES:
        return False
    return bool(_entropy(data) + 255 / (2 * len(data) * np.log(2)) > RANDOM_BITS)


def is_float_pcm(data: Bytes) -> bool:
    """Return whether the bytes, shape (n,), are 32-bit floats, low byte first: of four, the last has few values.

    It holds the sign and seven bits of the exponent: of sound within ±1 those of some 2^-20 to 1.
    """
    words = data[: len(data) // 4 * 4].reshape(-1, 4)
    words = words[(words != 0).any(axis=1)]
    if len(words) < LEAST_SAMPLES // 4:
        return False
    plausible = float(np.isin(words[:, 3] & 0x7F, range(0x33, 0x40)).mean())
    return plausible >= FLOAT_SHARE and _entropy(words[:, 2]) > LOW_BYTE_BITS


def is_linear_8bit(data: Bytes) -> bool:
    """Return whether the bytes, shape (n,), are far smoother read as 8-bit linear PCM, signed or not, than as μ-law."""
    as_mulaw = mulaw.decode(data.tobytes()).astype(np.float64)
    loud = np.abs(as_mulaw) > EIGHT_BIT_LOUD
    if int(loud.sum()) < LEAST_SAMPLES or float(loud.mean()) < EIGHT_BIT_LOUD_SHARE:
        return False
    unsigned = np.where(data == 0xFF, 0x7F, data).astype(np.float64) - 128  # both were decoded as 0
    signed = data.view(np.int8).astype(np.float64)
    rough = _roughness(as_mulaw)
    return rough > EIGHT_BIT_ROUGHNESS and any(
        abs(linear.mean()) < 8 and rough > EIGHT_BIT_RATIO * _roughness(linear - linear.mean())
        for linear in (unsigned, signed)
    )


def has_silent_channel(pcm: Pcm16) -> bool:
    """Return whether every other sample of the audio, shape (n,), is silence, and the others are sound."""
    pairs = np.abs(pcm[: len(pcm) // 2 * 2].astype(np.int32)).reshape(-1, 2)
    loud = pairs.max(axis=1) > _ACTIVE
    if int(loud.sum()) < LEAST_SAMPLES // 2:
        return False
    silent = (pairs[loud] < SILENCE_LEVEL).mean(axis=0)
    return float(silent.max()) >= DOUBLED_SHARE and float(silent.min()) <= 1 - DOUBLED_SHARE


def is_alaw(data: Bytes) -> bool:
    """Return whether the bytes, shape (n,), are smoother read as A-law (ITU-T G.711) than as μ-law."""
    as_mulaw = mulaw.decode(data.tobytes()).astype(np.float64)
    as_alaw = alaw_values()[data]
    active = _envelope(np.minimum(np.abs(as_alaw), np.abs(as_mulaw))) > _ACTIVE
    if active.sum() < LEAST_SAMPLES or float((np.abs(as_mulaw[active]) >= _FULL_SCALE).mean()) > MOST_AT_FULL_SCALE:
        return False
    return _roughness(as_mulaw[active]) > ALAW_RATIO * _roughness(as_alaw[active])


def is_byte_swapped(pcm: Pcm16) -> bool:
    """Return whether 16-bit samples, shape (n,), are far smoother with their bytes exchanged."""
    rough, swapped = _roughness(pcm.astype(np.float64)), _roughness(pcm.byteswap().astype(np.float64))
    return NOISE_ROUGHNESS[0] < rough < NOISE_ROUGHNESS[1] and rough > SWAPPED_RATIO * swapped


def is_doubled(pcm: Pcm16) -> bool:
    """Return whether each sample of the audio, shape (n,), comes twice."""
    loud = np.abs(pcm[:-1].astype(np.int32)) > _ACTIVE
    same = pcm[:-1] == pcm[1:]
    shares = [float(same[first::2][loud[first::2]].mean()) if loud[first::2].any() else 0.0 for first in (0, 1)]
    return int(loud.sum()) >= LEAST_SAMPLES and max(shares) >= DOUBLED_SHARE and min(shares) <= DOUBLED_BY_CHANCE


def _find_levels(pcm: Sound) -> list[Finding]:
    edges = np.flatnonzero(np.diff(pcm) != 0) + 1
    firsts, lengths = np.concatenate([[0], edges]), np.diff(np.concatenate([[0], edges, [len(pcm)]]))
    silent = (lengths >= SILENCE_RUN) & (np.abs(pcm[firsts]) >= SILENCE_LEVEL)
    if silent.any():
        worst = float(np.abs(pcm[firsts[silent]]).max())
        value = 20 * np.log10(worst / 32_768)
        return [Finding(kind=FindingKind.WRONG_SILENCE, count=int(silent.sum()), value=round(float(value), 1))]
    active = int((_envelope(np.abs(pcm)) > _ACTIVE).sum())
    full = (lengths >= CLIPPED_RUN) & (np.abs(pcm[firsts]) >= _FULL_SCALE)
    share = float(lengths[full].sum()) / max(active, 1)
    if active >= LEAST_SAMPLES and share >= CLIPPED_SHARE:
        # What clipping cuts off one side more than off the other moves the mean: that is no fault of its own.
        return [Finding(kind=FindingKind.CLIPPED, count=int(full.sum()), value=round(share, 4))]
    mean, median = float(pcm.mean()), float(np.median(pcm))
    if min(abs(mean), abs(median)) >= DC_SAMPLES and mean * median > 0:
        return [Finding(kind=FindingKind.DC_OFFSET, count=1, value=round(mean / 32_768, 4))]
    return []


def _envelope(sizes: Sound) -> Sound:
    """Return the mean size of the 10 ms around each sample, shape (n,)."""
    return np.convolve(sizes, np.ones(80) / 80, "same")


def _roughness(sound: Sound) -> float:
    """Return the energy of the differences of neighbours over that of the sound: about 2 for white noise."""
    energy = float(np.square(sound).sum())
    return float(np.square(np.diff(sound)).sum()) / energy if energy else 0.0


def _entropy(data: Bytes) -> float:
    counts = np.bincount(data, minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
