"""The background of an agent, and replies that begin and end over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.calibration.voice import make_voice
from turngap.caller.background import LevelFrames, find_background
from turngap.caller.onset import AUDIBLE_DBFS
from turngap.clock import NS_PER_MS
from turngap.model.records import CallRecord, Pcm16
from turngap.scoring.heard_sound import find_header_bytes, select_speech
from turngap.scoring.milestones import find_milestones
from turngap_agent.telephony import mulaw

from tests.harness import ambience
from tests.harness.builders import Call, ns

GAP_MS = 400.0
T0_MS = (2010.0, 6013.0)


def two_answers(bed: Pcm16 | None, voice: Pcm16, *, pauses: bool = False, early_ms: float = 0.0) -> CallRecord:
    """A call of two turns, answered by `voice` 400 ms after each; `early_ms` before that in the second."""
    sound = np.zeros(9_000 * 8, np.int32) if bed is None else bed.astype(np.int32)
    for number, t0_ms in enumerate(T0_MS):
        first = round((t0_ms + GAP_MS - early_ms * number) * 8)
        if pauses:
            sound[first : first + len(voice)] = 0
        sound[first : first + len(voice)] += voice
    pcm = mulaw.decode(mulaw.encode(np.clip(sound, -32_000, 32_000).astype(np.int16)))
    call = Call().utter(1000, T0_MS[0]).utter(5000, T0_MS[1]).hear_paced(0, pcm, lead_ms=5)
    return select_speech(call.ends(8_990))


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(ambience.AMBIENCES)),
    dbfs=st.sampled_from([-50.0, -40.0, -30.0]),
    over_db=st.floats(15, 25),
    seed=st.integers(0, 10_000),
    pauses=st.booleans(),
)
def test_a_reply_is_measured_as_without_the_background(
    name: str, dbfs: float, over_db: float, seed: int, pauses: bool
) -> None:
    """Its voice 15 to 25 dB over ambience of any kind: onset within 10 ms, an end within 250."""
    voice = make_voice(8000, seed, dbfs + over_db)
    record = two_answers(ambience.AMBIENCES[name](9_000, dbfs, seed), voice, pauses=pauses)
    for moments in find_milestones(record):
        assert moments.t1_ns is not None
        assert abs((moments.t1_ns - moments.t0_ns) / NS_PER_MS - GAP_MS) <= 10
        assert moments.reply is not None
        length_ms = (moments.reply.end_ns - moments.reply.start_ns) / NS_PER_MS
        assert dbfs == -50 or 800 <= length_ms <= 1250  # breath of -50 dBFS has moments over -45


def test_an_agent_without_a_background_is_measured_by_the_fixed_level() -> None:
    """The record is the same object: nothing was examined further, nothing changed."""
    call = Call().utter(1000, 2010).hear(2410, make_voice(8000, 1, -20)).ends(6000)
    assert select_speech(call) is call
    assert call.audible_dbfs == AUDIBLE_DBFS


@pytest.mark.parametrize("dbfs", [-40.0, -30.0])
def test_an_agent_that_speaks_into_the_caller_s_speech_is_found_in_ambience(dbfs: float) -> None:
    """Its voice there is no background: the turn is cut off where the voice began."""
    record = two_answers(ambience.noise(9_000, dbfs), make_voice(8000, 3, -12), early_ms=700)
    _, second = find_milestones(record)
    assert second.cut_off_ns is not None
    assert abs(second.cut_off_ns / NS_PER_MS - 300) <= 10


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), dbfs=st.floats(-34, -10), early_ms=st.floats(450, 1000))
def test_a_clean_agent_that_cuts_callers_off_has_no_background(seed: int, dbfs: float, early_ms: float) -> None:
    """Speech in the quiet time is no background, however often it is there."""
    record = two_answers(None, make_voice(8000, seed, dbfs), early_ms=early_ms)
    assert record.background_dbfs is None
    assert find_milestones(record)[1].cut_off_ns is not None


def test_music_before_the_first_turn_is_background_once_it_had_no_pause_for_eight_seconds() -> None:
    """Until then it may be a greeting; a greeting has pauses."""
    start = np.arange(1000, dtype=np.int64) * 10 * NS_PER_MS
    levels = np.random.default_rng(1).uniform(-40, -18, 1000)
    waits = (0, 10_000 * NS_PER_MS)
    assert find_background(LevelFrames(start[:600], levels[:600]), [waits], waiting_ns=(0, 6_000 * NS_PER_MS)) is None
    assert find_background(LevelFrames(start, levels), [waits], waiting_ns=waits) is not None
    levels[600:620] = -70
    assert find_background(LevelFrames(start, levels), [waits], waiting_ns=waits) is None


def test_the_header_of_a_file_is_no_sound() -> None:
    """The whole header is silent to scoring, a longer one too; what is no header stays."""
    list_chunk = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    fmt = b"fmt " + (16).to_bytes(4, "little") + bytes(16)
    for middle in (fmt, fmt + list_chunk):
        header = b"RIFF" + bytes(4) + b"WAVE" + middle + b"data" + bytes(4)
        pcm = np.concatenate([mulaw.decode(header), np.zeros(240, np.int16), make_voice(4000, 2, -15)])
        assert find_header_bytes(pcm) == len(header)
        record = select_speech(Call().utter(1000, 2010).hear(2410, pcm).ends(6000))
        (moments,) = find_milestones(record)
        assert moments.t1_ns == ns(2410) + (len(header) + 240) * 125_000
    assert find_header_bytes(make_voice(100, 1)) == 0
    assert find_header_bytes(mulaw.decode(b"RIFFxxxxAVI ")) == 0
