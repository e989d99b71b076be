"""Calibration: an error put into a call is the error that is measured, in the sentinel's windows too."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from turngap.calibration import calibrate, utterances
from turngap.calibration.calibrate import Calibration, DelayErrors, Errors, LoggedReply, ReferenceAgent, Sample
from turngap.calibration.idleness import Idle
from turngap.calibration.reference_agent import make_tone
from turngap.calibration.sentinel import Sentinel
from turngap.calibration.utterances import KnownClip, make_burst, make_utterance, make_utterances
from turngap.caller.scheduler import Scheduler
from turngap.clock import SystemClock
from turngap.model.records import CallEnd, CallRecord, Received, Spoken
from turngap.model.turn import TurnRecord

MS = 1_000_000


def call(late_send_ms: float = 0.0, late_read_ms: float = 0.0, delay_ms: float = 150.0) -> CallRecord:
    """One utterance of 1,003 samples from sample 4,000 on, answered `delay_ms` after its last frame arrives."""
    clip = make_burst(1003 / 8, seed=1)
    spoken = Spoken("u", clip, 4000, 4000 + len(clip.pcm), 10_000 * MS)
    frame = (spoken.end_sample - 1) // 160
    sent_ns = (np.arange(200, dtype=np.int64) + 1) * 20 * MS
    sent_ns[frame] += round(late_send_ms * MS)
    recv_ns = int(sent_ns[frame]) + round((delay_ms + late_read_ms) * MS)
    return CallRecord(
        index=0,
        call_sid="CA",
        stream_sid="MZ",
        started_ns=0,
        sent_ns=sent_ns,
        caller_pcm=np.zeros(200 * 160, np.int16),
        spoken=(spoken,),
        received=(Received(recv_ns, recv_ns, make_tone(150), 1200),),
        marks=(),
        clears_ns=(),
        stalls=np.zeros((0, 2), np.int64),
        ended_ns=4000 * MS,
        end=CallEnd.COMPLETED,
    )


def reference(record: CallRecord, delay_ms: float = 150.0, onset_sample: int = 0) -> ReferenceAgent:
    frame = (record.spoken[0].end_sample - 1) // 160
    arrival_ns = int(record.sent_ns[frame])
    replies = {("CA", 0): LoggedReply(arrival_ns, arrival_ns + round(delay_ms * MS), onset_sample)}
    return cast(ReferenceAgent, SimpleNamespace(replies=replies))


@pytest.mark.parametrize(("send", "read", "own", "frame"), [(0, 0, 0, 0), (3, 0, 3, 0), (0, 2, 2, 2), (3, 2, 5, 2)])
def test_an_added_error_is_measured(send: float, read: float, own: float, frame: float) -> None:
    """Late sending moves the sample convention alone, late reading both."""
    record = call(late_send_ms=send, late_read_ms=read)
    (sample,) = calibrate.measure_errors(record, reference(record))
    assert sample.error_ms == pytest.approx(own)
    assert sample.frame_error_ms == pytest.approx(frame)


def test_the_label_is_part_of_the_error_and_the_noise_before_the_answer_is_not() -> None:
    """A label 2 ms after the true end makes the gap 2 ms too short; an answer's known silence is part of the truth."""
    record = call()
    spoken = record.spoken[0]
    own = {field.name: getattr(spoken.clip, field.name) for field in dataclasses.fields(spoken.clip)}
    known = KnownClip(**own, true_end_sample=len(spoken.clip.pcm) - 16)
    late = dataclasses.replace(record, spoken=(dataclasses.replace(spoken, clip=known),))
    (sample,) = calibrate.measure_errors(late, reference(late))
    assert sample.error_ms == pytest.approx(-2)
    assert sample.frame_error_ms == pytest.approx(0)
    message = late.received[0]
    quiet = np.concatenate([np.zeros(37, np.int16), message.pcm])
    later = dataclasses.replace(late, received=(dataclasses.replace(message, pcm=quiet, played_samples=len(quiet)),))
    (sample,) = calibrate.measure_errors(later, reference(later, onset_sample=37))
    assert sample.error_ms == pytest.approx(-2)


@pytest.mark.parametrize("seed", range(40))
def test_the_label_of_an_utterance_is_its_true_end(seed: int) -> None:
    """The product's label of a voice that stops between two samples, noise after it: to a quarter of a millisecond."""
    clip = make_utterance(seed)
    assert abs(clip.label_error_samples) <= 2
    assert clip.speech_start_sample == pytest.approx(160, abs=2)


def test_the_actual_delay_counts_not_the_configured_one() -> None:
    """A reference agent that was late itself is no error of the instrument."""
    record = call(delay_ms=170.0)
    (sample,) = calibrate.measure_errors(record, reference(record, delay_ms=170.0))
    assert sample.error_ms == pytest.approx(0)


def test_an_answer_without_an_onset_is_missed() -> None:
    """An answer the reference agent gave and the instrument did not hear is no sample, and is counted."""
    record = call()
    silent = Received(record.received[0].recv_ns, record.received[0].play_ns, np.zeros(1200, np.int16), 1200)
    without_reply = CallRecord(
        **{name: getattr(record, name) for name in CallRecord.__slots__} | {"received": (silent,)}
    )
    early = Spoken("u", record.spoken[0].clip, 4000, record.spoken[0].end_sample, 3000 * MS)
    without_reply = CallRecord(
        **{name: getattr(without_reply, name) for name in CallRecord.__slots__} | {"spoken": (early,)}
    )
    (sample,) = calibrate.measure_errors(without_reply, reference(record))
    assert sample.error_ms is None


def row(**changes: object) -> DelayErrors:
    fields = {"delay_ms": 150.0, "n": 25, "missed": 0, "bias_median_ms": 0.2, "sd_ms": 0.1, "max_abs_error_ms": 0.9}
    return DelayErrors(**(fields | changes), frame_convention=Errors(25, 0.1, 0.1, 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"bias_median_ms": -0.51}, False),
        ({"bias_median_ms": 0.49}, True),
        ({"sd_ms": 1.1}, False),
        ({"max_abs_error_ms": 5.1}, False),
        ({"missed": 1}, False),
        ({"bias_median_ms": None, "sd_ms": None, "max_abs_error_ms": None, "n": 0}, False),
    ],
)
def test_calibration_is_valid_within_its_bars(changes: dict[str, object], valid: bool) -> None:
    """Bias, spread, largest error and missed answers each spoil it; so does measuring nothing."""
    assert Calibration((row(**changes),), Idle(0.1, 0.1)).valid is valid
    assert not Calibration((), Idle(0.1, 0.1)).valid


def test_the_bias_of_several_delays_is_the_worst() -> None:
    """One bad delay is not averaged away."""
    rows = (row(bias_median_ms=0.2), row(bias_median_ms=-3.0), row(bias_median_ms=1.0))
    assert Calibration(rows, Idle(0.1, 0.1)).bias_ms == -3.0


def turn(t0_ms: float, t1_ms: float) -> TurnRecord:
    return cast(TurnRecord, SimpleNamespace(t0_ns=round(t0_ms * MS), t1_ns=round(t1_ms * MS), boot_id=""))


def test_only_the_turns_windows_count() -> None:
    """The sentinel's errors outside 500 ms before t0 .. t1 say nothing of the turns."""
    watch = Sentinel()
    watch.add([Sample(at * MS, (at + 100) * MS, error, error) for at, error in [(0, 9.0), (600, 1.0), (900, 2.0)]])
    watch.add([Sample(1501 * MS, 1600 * MS, 9.0, 9.0), Sample(1000 * MS, 1300 * MS, None, None)])
    errors = watch.errors([turn(1000, 1500)])
    assert (errors.n, errors.n_all, errors.missed, errors.bias_median_ms) == (2, 5, 1, 1.5)


def test_a_sentinel_without_samples_says_so() -> None:
    """Without overlap the bias is null, not zero."""
    errors = Sentinel().errors([turn(0, 1)])
    assert errors.n == 0
    assert errors.bias_median_ms is None


def test_the_ordinary_caller_measures_the_real_reference_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer through a real process and socket is measured, for every delay, in both conventions.

    The utterances are longer than a busy machine holds a process up: an order that reaches the agent together with the
    end of its utterance arrives too late.
    """
    make_utterances.cache_clear()
    monkeypatch.setattr(utterances, "UTTERANCE_MS", (1700.0, 1760.0))

    async def measure() -> Calibration:
        clock = SystemClock()
        async with Scheduler(clock).running() as scheduler:
            return await calibrate.calibrate([60.0, 120.0], 2, clock=clock, scheduler=scheduler, calls=2)

    calibration = asyncio.run(measure())
    make_utterances.cache_clear()
    assert [(one.delay_ms, one.n, one.missed) for one in calibration.delays] == [(60.0, 2, 0), (120.0, 2, 0)]
    assert all(one.frame_convention.n == 2 for one in calibration.delays)
    assert calibration.to_json()["delays"][0]["bias_median_ms"] is not None


def test_unwatched_windows_are_counted() -> None:
    """A turn during which the sentinel measured nothing is reported."""
    watch = Sentinel()
    watch.add([Sample(900 * MS, 1000 * MS, 1.0, 1.0)])
    errors = watch.errors([turn(1000, 1500), turn(9000, 9500)])
    assert (errors.windows, errors.watched, errors.watched_share) == (2, 1, 0.5)
