"""Recorded calls as players: stereo WAV (caller left, agent right) as μ-law data URIs, with pins at t0 and t1.

8 kHz stereo μ-law is 16 kB per second, and lossless here: both sides were μ-law on the wire.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from turngap.model.turn import TurnRecord

RATE = 8000
MOST_BYTES = 1_800_000
"""The most audio in one page, before base64: 112 s."""
BEFORE_S, AFTER_S = 4.0, 6.0
WIDTH, LANE = 600, 26

Pcm16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Pin:
    """A moment in a player, in seconds from its start and as a share of its length."""

    words: str
    kind: str
    at_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Player:
    """One recorded call."""

    name: str
    turns: tuple[TurnRecord, ...]
    length_s: float
    uri: str
    caller_path: str
    agent_path: str
    pins: tuple[Pin, ...]


def make_players(folder: Path, turns: Sequence[TurnRecord], notes: list[str]) -> list[Player]:
    """Return players for the calls of `turns`, in that order, up to the page's limit; what is left out is noted."""
    calls: dict[str, list[TurnRecord]] = {}
    for turn in turns:
        if turn.audio is not None and turn.audio_offset_ms is not None:
            calls.setdefault(turn.audio, []).append(turn)
    players, room, left_out = [], MOST_BYTES, []
    for name, spoken in calls.items():
        pcm = _load(folder, name, notes)
        if pcm is None:
            continue
        player = _make_player(name, spoken, pcm, room)
        if player is None:
            left_out.append(name)
            continue
        players.append(player)
        room -= len(player.uri) * 3 // 4
    if left_out:
        notes.append(f"to keep this page small, {len(left_out)} more recorded calls are only in the run folder")
    return players


def _load(folder: Path, name: str, notes: list[str]) -> Pcm16 | None:
    path = folder / name
    if path.resolve().parent != folder.resolve() and folder.resolve() not in path.resolve().parents:
        notes.append("the audio of a turn is outside the run folder; it was left out")
        return None
    try:
        pcm, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except (OSError, soundfile.LibsndfileError):
        notes.append(f"{name} cannot be read; it has no player")
        return None
    if rate != RATE or pcm.shape[1] != 2:
        notes.append(f"{name} is not stereo at 8 kHz; it has no player")
        return None
    return np.asarray(pcm, dtype=np.int16)


def _make_player(name: str, turns: Sequence[TurnRecord], pcm: Pcm16, room: int) -> Player | None:
    marks = [(t, (t.audio_offset_ms or 0.0) / 1000) for t in turns]
    ends = [at + max(t.turn_gap_ms or 0.0, 0.0) / 1000 for t, at in marks]
    start = max(0, round((min(at for _, at in marks) - BEFORE_S) * RATE))
    stop = min(len(pcm), round((max(ends) + AFTER_S) * RATE))
    part = pcm[start:stop]
    if not len(part) or 2 * len(part) > room:
        return None
    length_s = len(part) / RATE
    pins = []
    for number, (turn, at) in enumerate(marks, 1):
        at_s = at - start / RATE
        which = f" of turn {number}" if len(marks) > 1 else ""
        pins.append(Pin(f"caller stops{which}", "t0", at_s, at_s / length_s))
        if turn.turn_gap_ms is not None:
            heard_s = at_s + turn.turn_gap_ms / 1000
            pins.append(Pin(f"agent is heard{which}", "t1", heard_s, heard_s / length_s))
    shown = tuple(pin for pin in pins if 0 <= pin.share <= 1)
    uri = "data:audio/wav;base64," + base64.b64encode(encode_mulaw_wav(part)).decode("ascii")
    return Player(name, tuple(turns), length_s, uri, draw_envelope(part[:, 0], 0), draw_envelope(part[:, 1], 1), shown)


def encode_mulaw_wav(pcm: Pcm16) -> bytes:
    """Return int16 PCM, shape (n, channels), 8 kHz, as a WAV file of format 7 (μ-law)."""
    wav = io.BytesIO()
    soundfile.write(wav, pcm, RATE, format="WAV", subtype="ULAW")
    return wav.getvalue()


def draw_envelope(pcm: Pcm16, lane: int, columns: int = 300) -> str:
    """Return loudness over time as an SVG path around the middle of its lane; 50 dB fill the lane."""
    edges = np.linspace(0, len(pcm), columns + 1).astype(int)
    level = [float(np.abs(pcm[a:b].astype(np.int32)).max()) if b > a else 0.0 for a, b in pairwise(edges)]
    scaled = np.clip(1 + 20 * np.log10(np.maximum(level, 1.0) / 32768) / 50, 0, 1) * (LANE / 2 - 1)
    middle = LANE * lane + LANE / 2
    strokes = [
        f"M{WIDTH * (i + 0.5) / columns:.0f} {middle - h:.0f}v{2 * h:.0f}" for i, h in enumerate(scaled) if h >= 0.5
    ]
    return "".join(strokes) + f"M0 {middle:.0f}h{WIDTH}"
