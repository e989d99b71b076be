"""Devices: files at real pace, sound cards through PortAudio, and one clear line where there is none."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from turngap.clock import FakeClock
from turngap.talk import devices
from turngap.talk.devices import FileDevice, SoundDevice
from turngap.talk.resampling import LoudspeakerQueue, Samples
from turngap_agent.errors import UsageError

MICROPHONE = {"index": 3, "name": "Desk microphone", "default_samplerate": 48_000.0}
LOUDSPEAKER = {"index": 5, "name": "Headphones", "default_samplerate": 48_000.0}


class PortAudioError(Exception):
    """As sounddevice's."""


class Stream:
    """Calls back when the test says so."""

    latency = (0.01, 0.02)
    last: Stream

    def __init__(self, **settings: Any) -> None:
        self.settings, self.open = settings, False
        Stream.last = self

    def start(self) -> None:
        self.open = True

    def close(self) -> None:
        self.open = False

    def block(self, recorded: Samples, times: SimpleNamespace) -> Samples:
        played = np.zeros((len(recorded), 1), np.float32)
        self.settings["callback"](recorded.reshape(-1, 1), played, len(recorded), times, None)
        return played[:, 0]


def query(device: object = None, kind: str | None = None) -> Any:
    if kind is None:
        return [MICROPHONE, LOUDSPEAKER]
    wanted = MICROPHONE if kind == "input" else LOUDSPEAKER
    if device not in (None, wanted["index"], wanted["name"]):
        raise ValueError(f"No {kind} device matching {device!r}")
    return wanted


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A machine with one microphone and one loudspeaker."""
    module = ModuleType("sounddevice")
    for name, value in {"PortAudioError": PortAudioError, "Stream": Stream, "query_devices": query}.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def test_a_sound_card_speaks_and_plays_in_blocks(card: ModuleType) -> None:
    """Blocks of 10 ms at the card's own rate; a block's time is that of its last sample, as the card says."""

    async def main() -> tuple[list[tuple[Samples, int]], Samples, SoundDevice]:
        clock, heard = FakeClock(), list[tuple[Samples, int]]()
        device = SoundDevice("3", "Headphones", clock)
        await device.start(
            lambda recorded, at_ns: heard.append((recorded, at_ns)), lambda n: np.full(n, 0.5, np.float32)
        )
        # The block's first sample was taken 25 ms ago: its last 15 ms ago.
        times = SimpleNamespace(currentTime=100.0, inputBufferAdcTime=99.975)
        played = Stream.last.block(np.linspace(0, 1, 480, dtype=np.float32), times)
        Stream.last.block(np.zeros(480, np.float32), SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0))
        await asyncio.sleep(0)
        await device.stop()
        return heard, played, device

    heard, played, device = asyncio.run(main())
    assert Stream.last.settings["blocksize"] == 480
    assert Stream.last.settings["device"] == (3, 5)
    assert not Stream.last.open
    assert device.description == "Desk microphone and Headphones"
    assert device.output_latency_ms == 20
    assert not device.exhausted
    now_ns = FakeClock().now_ns()
    assert [at_ns for _, at_ns in heard] == [now_ns - 15_000_000, now_ns]  # a card that does not say is taken at now
    assert heard[0][0].shape == (480,)
    assert (played == 0.5).all()


def test_an_unknown_device_is_one_line(card: ModuleType) -> None:
    """With where to look."""
    with pytest.raises(UsageError, match=r"--output-device 'Radio': No output device .*--list-devices"):
        SoundDevice(None, "Radio", FakeClock())


def test_devices_that_do_not_open_are_one_line(card: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio's own reason is in it."""

    def refuse(self: Stream) -> None:
        raise PortAudioError("Invalid sample rate")

    monkeypatch.setattr(Stream, "start", refuse)
    device = SoundDevice(None, None, FakeClock())
    with pytest.raises(UsageError, match=r"cannot be opened at 48000 Hz \(Invalid sample rate\)"):
        asyncio.run(device.start(lambda *_: None, lambda n: np.zeros(n, np.float32)))


def test_a_headless_machine_gets_one_clear_line(card: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """No devices, no library, no package: each says what to do."""

    def nothing(device: object = None, kind: str | None = None) -> list[object]:
        if kind is not None:
            raise PortAudioError("Error querying device -1")
        return []

    monkeypatch.setattr(card, "query_devices", nothing)
    with pytest.raises(UsageError, match="this machine has no sound devices"):
        devices.describe_devices()
    with pytest.raises(UsageError, match="this machine has no microphone; give --in and --out"):
        SoundDevice(None, None, FakeClock())
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UsageError, match=r"pip install 'turngap\[talk\]'"):
        devices.describe_devices()


def test_a_missing_library_is_distinguished_from_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sounddevice raises OSError where PortAudio is missing."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="no PortAudio library; install it"):
        devices.import_sounddevice()


def test_a_file_is_played_at_real_pace_and_the_answer_written(tmp_path: Path) -> None:
    """Blocks at their own times, silence after the end, and the loudspeaker's samples in the other file."""
    recorded = np.linspace(-0.5, 0.5, 700, dtype=np.float32)
    soundfile.write(tmp_path / "in.wav", recorded, 16_000, subtype="FLOAT")

    async def main() -> tuple[list[tuple[Samples, int]], int, bool]:
        clock, heard, enough = FakeClock(), list[tuple[Samples, int]](), asyncio.Event()
        began_ns = clock.now_ns()
        device = FileDevice(tmp_path / "in.wav", tmp_path / "out.wav", clock)

        def on_block(block: Samples, at_ns: int) -> None:
            heard.append((block, at_ns - began_ns))
            if len(heard) == 8:
                enough.set()

        await device.start(on_block, lambda n: np.full(n, 0.25, np.float32))
        await enough.wait()
        await device.stop()
        return heard, device.rate, device.exhausted

    heard, rate, exhausted = asyncio.run(main())
    assert (rate, exhausted) == (16_000, True)
    assert [at_ns for _, at_ns in heard[:8]] == [10_000_000 * (k + 1) for k in range(8)]
    assert np.allclose(np.concatenate([block for block, _ in heard])[:700], recorded)
    assert not np.concatenate([block for block, _ in heard])[700:].any()
    played, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 16_000
    assert len(played) % 160 == 0
    assert np.allclose(played, 0.25, atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [(0, 8000, "0 samples at 8000 Hz"), (100, 4000, "8000 Hz or more"), (None, 0, "cannot be read as audio")],
)
def test_a_file_that_cannot_be_played_is_one_line(tmp_path: Path, samples: int | None, rate: int, message: str) -> None:
    """Empty, too low a rate, no audio."""
    file = tmp_path / "in.wav"
    if samples is None:
        file.write_text("not audio")
    else:
        soundfile.write(file, np.zeros(samples, np.float32), rate)
    with pytest.raises(UsageError, match=message):
        FileDevice(file, tmp_path / "out.wav", FakeClock())


def test_a_missing_folder_is_reported_before_the_call(tmp_path: Path) -> None:
    """Not after a talk whose recording would then be lost."""
    soundfile.write(tmp_path / "in.wav", np.zeros(100, np.float32), 8000)
    with pytest.raises(UsageError, match="there is no folder"):
        FileDevice(tmp_path / "in.wav", tmp_path / "nowhere" / "out.wav", FakeClock())


def test_the_loudspeaker_plays_in_order_and_drops_on_clear() -> None:
    """At its own rate; silence where nothing waits."""
    speaker = LoudspeakerQueue(8000)
    speaker.feed(np.full(100, 16_384, np.int16))
    speaker.feed(np.full(50, -16_384, np.int16))
    first = speaker.take(120)
    assert (first[:100] == 0.5).all()
    assert (first[100:] == -0.5).all()
    speaker.clear()
    assert not speaker.take(80).any()
    faster = LoudspeakerQueue(48_000)
    faster.feed(np.full(800, 16_384, np.int16))
    assert np.allclose(faster.take(4800)[200:4600], 0.5, atol=0.01)
    assert not faster.take(480).any()
