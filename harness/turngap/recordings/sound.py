"""The sound of a finished call: one file with two channels, or two files, read block by block.

Formats are those of libsndfile: WAV of any width, μ-law and A-law, FLAC, MP3, Ogg and others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal
from turngap_agent.errors import UsageError

from turngap.recordings.power import STEPS_PER_S, Floats, PowerMeter

LEAST_RATE = 8000
"""A telephone's; less carries no speech whose edges can be found."""
SPAN_RATE = 8000
BLOCK_FRAMES = 1 << 18
LONGEST_S = 12 * 3600
SHORTEST_S = 1.0
CODE = "usage.recording"


@dataclass(frozen=True, slots=True)
class Track:
    """One side of a call: a channel of a file."""

    path: Path
    channel: int
    """From 0."""


@dataclass(frozen=True, slots=True)
class CallSound:
    """A recorded call: its two tracks, as the file or the files have them."""

    name: str
    first: Track
    """The left channel, or the caller's file."""
    second: Track
    """The right channel, or the agent's file."""
    format: str
    """As libsndfile names it."""
    rates: tuple[int, int]

    @property
    def is_pair(self) -> bool:
        """Whether the sides are in two files, so that it is known which is which."""
        return self.first.path != self.second.path


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over the sound finds."""

    power: tuple[Floats, Floats]
    """Of each track, in steps of 1.25 ms; both have the same length."""
    likeness: float | None
    """The correlation of the two tracks, 0 to 1; None if their rates differ, or one is silent."""

    @property
    def length_ms(self) -> float:
        """The length of the longer track."""
        return len(self.power[0]) * 1000 / STEPS_PER_S


def open_call(path: Path, other: Path | None = None) -> CallSound:
    """Return the sound of a call: a file with two channels, or the caller's and, as `other`, the agent's file.

    Raises:
        UsageError: a file is missing, no audio, has the wrong number of channels, is too short, too long, or under
            8 kHz (`usage.recording`).
    """
    infos = [_read_info(each) for each in ([path] if other is None else [path, other])]
    if other is None:
        channels = infos[0].channels
        if channels == 1:
            raise UsageError(
                f"{path}: mono: one channel has both speakers, so who speaks when is not known, and it is not scored; "
                "record both channels (Twilio: recording_channels=dual), or give one file a side: CALLER.wav+AGENT.wav",
                code="usage.recording.mono",
            )
        if channels != 2:
            raise UsageError(f"{path}: {channels} channels; two are needed, one a side: export those two", code=CODE)
        tracks = Track(path, 0), Track(path, 1)
    else:
        if path.resolve() == other.resolve():
            raise UsageError(
                f"{path}: given as both sides of a call; give the caller's and the agent's file", code=CODE
            )
        for each, info in zip((path, other), infos, strict=True):
            if info.channels != 1:
                raise UsageError(
                    f"{each}: {info.channels} channels; as one side of a call it is to have one", code=CODE
                )
        tracks = Track(path, 0), Track(other, 0)
    names = [each.name.encode("utf-8", "replace").decode() for each in (path, *([other] if other else []))]
    described = dict.fromkeys(f"{info.format} {info.subtype}" for info in infos)
    return CallSound("+".join(names), *tracks, ", ".join(described), (infos[0].samplerate, infos[-1].samplerate))


def scan_call(call: CallSound) -> Scan:
    """Read the whole call once and return its power; memory is 24 MB for an hour.

    Raises:
        UsageError: a file is damaged, or has samples that are no numbers.
    """
    meters = PowerMeter(call.rates[0]), PowerMeter(call.rates[1])
    sums = np.zeros(3)
    for left, right in _block_pairs(call):
        meters[0].add(left)
        meters[1].add(right)
        shared = min(len(left), len(right))
        one, other = left[:shared].astype(np.float64), right[:shared].astype(np.float64)
        sums += one @ one, other @ other, one @ other
    alike = call.rates[0] == call.rates[1] and sums[0] * sums[1] > 0
    likeness = abs(sums[2]) / math.sqrt(sums[0] * sums[1]) if alike else None
    return Scan(_pad(meters[0].finish(), meters[1].finish()), likeness)


def read_span(call: CallSound, from_s: float, length_s: float) -> tuple[Floats, Floats]:
    """Return that part of both tracks at 8 kHz, each shape (8000 · length_s,); silence where a track has ended.

    Raises:
        UsageError: a file is damaged.
    """
    first = _read_track(call.first, call.rates[0], from_s, length_s)
    return first, _read_track(call.second, call.rates[1], from_s, length_s)


def _block_pairs(call: CallSound) -> Iterator[tuple[Floats, Floats]]:
    """Yield the next samples of both tracks; of two files the shorter ends with empty blocks."""
    if not call.is_pair:
        yield from ((block[:, 0], block[:, 1]) for block in _blocks(call.first.path))
        return
    empty = np.zeros((0, 1), np.float32)
    for first, second in zip_longest(_blocks(call.first.path), _blocks(call.second.path), fillvalue=empty):
        yield first[:, 0], second[:, 0]


def _read_track(track: Track, rate: int, from_s: float, length_s: float) -> Floats:
    wanted = round(length_s * SPAN_RATE)
    try:
        with soundfile.SoundFile(track.path) as file:
            file.seek(min(round(from_s * rate), file.frames))
            samples = file.read(round(length_s * rate), dtype="float32", always_2d=True)[:, track.channel]
    except (soundfile.LibsndfileError, OSError) as error:
        raise _damaged(track.path, error) from None
    if rate != SPAN_RATE:
        common = math.gcd(rate, SPAN_RATE)
        samples = signal.resample_poly(samples, SPAN_RATE // common, rate // common)
    span = np.zeros(wanted, np.float32)
    span[: min(wanted, len(samples))] = samples[:wanted]
    return span


def _read_info(path: Path) -> soundfile._SoundFileInfo:
    if path.is_dir():
        raise UsageError(f"{path}: that is a folder; give recordings", code=CODE)
    if not path.is_file():
        raise UsageError(f"{path}: no such file", code=CODE)
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = _reason(error)
        raise UsageError(
            f"{path}: cannot be read as audio ({reason}); WAV, FLAC, Ogg and MP3 can be read, and an encrypted "
            "recording has to be decrypted first",
            code=CODE,
        ) from None
    if info.samplerate < LEAST_RATE:
        raise UsageError(f"{path}: its rate is {info.samplerate} Hz; {LEAST_RATE} Hz or more is needed", code=CODE)
    if info.duration < SHORTEST_S:
        raise UsageError(
            f"{path}: {info.duration:.2f} s long; there is no turn in less than {SHORTEST_S:g} s", code=CODE
        )
    if info.duration > LONGEST_S:
        hours = info.duration / 3600
        raise UsageError(f"{path}: {hours:.0f} h long by its header; at most {LONGEST_S // 3600} h are read", code=CODE)
    return info


def _blocks(path: Path) -> Iterator[Floats]:
    done, rate = 0, 1
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            for block in file.blocks(BLOCK_FRAMES, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise UsageError(
                        f"{path}: samples after {done / rate:.0f} s are nan or infinite; export it again", code=CODE
                    )
                done += len(block)
                yield block
    except (soundfile.LibsndfileError, OSError) as error:
        raise _damaged(path, error, done / rate) from None


def _damaged(path: Path, error: Exception, after_s: float | None = None) -> UsageError:
    where = "" if after_s is None else f" after {after_s:.1f} s"
    return UsageError(f"{path}: damaged{where} ({_reason(error)}); export it again", code=CODE)


def _reason(error: Exception) -> str:
    reason = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
    return " ".join(str(reason).split()).rstrip(".")


def _pad(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    length = max(len(first), len(second))
    return tuple(np.pad(power, (0, length - len(power))) for power in (first, second))  # type: ignore[return-value]
