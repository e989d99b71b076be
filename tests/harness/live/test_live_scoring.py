"""Pins how t0..t3 come of two legs: made by hand, with known times, scored by the common code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from turngap.calibration.utterances import make_burst
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.clock import NS_PER_MS
from turngap.live import live_scoring, recording_comparison, run_summary
from turngap.live.agent_leg import AgentTrace
from turngap.live.caller_leg import CallerTrace
from turngap.live.leg_audio import TimedAudio, render_playout
from turngap.live.recording_comparison import Channels
from turngap.model.records import CallEnd, CallRecord, Pcm16, Received, Spoken
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.verdict.gate import Evidence

START = 5_000_000_000_000
CLIP = make_burst(200, 1)
REPLY = make_burst(400, 2).pcm
TURN = Turn(id="burst", say="a burst of noise")
PLANNED = PlannedCall(0, (TURN,), probe=False)


def noise_with(pcm: Pcm16, at_ms: float, ms: float = 3000, seed: int = 8) -> Pcm16:
    line = make_comfort_noise(round(ms * 8), seed)
    at = round(at_ms * 8)
    line[at : at + len(pcm)] = pcm
    return line


def legs(
    *,
    spoken_ms: float = 503.25,
    uplink_ms: float = 60,
    gap_ms: float = 300,
    downlink_ms: float = 90,
    late_ms: float = 0,
) -> tuple[CallerTrace, AgentTrace]:
    """The caller speaks at `spoken_ms`; the legs' audio starts at different times."""
    t0_ms = spoken_ms + 200 + late_ms
    t1_ms, t2_ms = t0_ms + uplink_ms, t0_ms + uplink_ms + gap_ms
    t3_ms = t2_ms + downlink_ms
    start = round(spoken_ms * 8)
    spoken = Spoken("burst", CLIP, start, start + len(CLIP.pcm), START + 8000 * NS_PER_MS)
    inbound = TimedAudio(START - 7 * NS_PER_MS, noise_with(REPLY, t3_ms + 7))
    frames = 150
    record = CallRecord(
        index=0,
        call_sid="live-0",
        stream_sid="",
        started_ns=START,
        sent_ns=START + np.arange(frames) * 20 * NS_PER_MS,
        caller_pcm=noise_with(CLIP.pcm, spoken_ms),
        spoken=(spoken,),
        received=tuple(
            Received(
                inbound.sample_ns(n * 160) + 20 * NS_PER_MS,
                inbound.sample_ns(n * 160),
                inbound.pcm[n * 160 :][:160],
                160,
            )
            for n in range(frames)
        ),
        marks=(),
        clears_ns=(),
        stalls=np.empty((0, 2), np.int64),
        ended_ns=START + 3000 * NS_PER_MS,
        end=CallEnd.COMPLETED,
        lead_ns=0,
    )
    caller = CallerTrace(record, inbound, (round(late_ms * NS_PER_MS),), 0.2)
    at_agent = TimedAudio(START + 11 * NS_PER_MS, noise_with(CLIP.pcm, t1_ms - 200 - 11, seed=9))
    sent = (Received(START + round(t2_ms * NS_PER_MS), START + round(t2_ms * NS_PER_MS), REPLY, len(REPLY)),)
    return caller, AgentTrace(at_agent, sent, render_playout(sent), (), (), 0.1, "")


def test_each_leg_is_measured_as_it_was_made() -> None:
    """Uplink, server gap, downlink and their sum, to the sample."""
    caller, agent = legs()
    (turn,), edge = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    assert turn.live is not None
    assert turn.outcome is Outcome.ANSWERED
    assert turn.live.uplink_ms == pytest.approx(60, abs=0.2)
    assert turn.live.server_gap_ms == pytest.approx(300, abs=0.2)
    assert turn.live.downlink_ms == pytest.approx(90, abs=0.2)
    assert turn.live.total_ms == pytest.approx(450, abs=0.2)
    assert turn.turn_gap_ms == pytest.approx(300, abs=0.2)
    assert turn.perceived_gap_ms == turn.live.total_ms
    assert edge.call_sid == "live-0"


def test_the_instruments_own_lateness_is_not_in_the_uplink() -> None:
    """Audio that was sent late counts from when Twilio could play it."""
    caller, agent = legs(late_ms=4)
    (turn,), _ = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    assert turn.live is not None
    assert turn.live.uplink_ms == pytest.approx(60, abs=0.2)
    assert turn.live.total_ms == pytest.approx(450, abs=0.2)


def test_lateness_belongs_to_its_utterance_only() -> None:
    """Frames outside a late utterance are not late, so other turns are unchanged."""
    caller, agent = legs(late_ms=40)
    _, edge = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    late_ns = edge.sent_ns - edge.frame_due_ns(0) - np.arange(len(edge.sent_ns)) * 20 * NS_PER_MS
    (spoken,) = edge.spoken
    own = np.zeros(len(late_ns), np.bool_)
    own[spoken.start_sample // 160 : -(-spoken.end_sample // 160)] = True
    assert (late_ns[own] == 40 * NS_PER_MS).all()
    assert (late_ns[~own] == 0).all()


def test_an_utterance_that_never_reached_the_agents_leg_is_not_answered() -> None:
    """Whatever the agent sent afterwards: the turn has no gap."""
    caller, agent = legs()
    agent = replace(agent, inbound=TimedAudio(agent.inbound.start_ns, make_comfort_noise(24_000, 3)))
    (turn,), _ = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    assert turn.live is not None
    assert turn.live.uplink_ms is None
    assert turn.turn_gap_ms is None
    assert turn.outcome is Outcome.MISSED
    assert "not found on the agent's leg" in turn.detail


def test_a_reply_that_never_reached_the_caller_is_not_answered() -> None:
    """A reply on the agent's leg only is not an answer."""
    caller, agent = legs()
    caller = replace(caller, inbound=TimedAudio(START, make_comfort_noise(24_000, 3)))
    (turn,), _ = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    assert turn.live is not None
    assert turn.live.total_ms is None
    assert turn.outcome is Outcome.MISSED


def test_the_callers_leg_only_measures_the_total() -> None:
    """To a millisecond, as only the onset is known; the other times are not known."""
    caller, _ = legs()
    (turn,) = live_scoring.score_caller_leg(caller, PLANNED, cold=False)
    assert turn.live is not None
    assert turn.live.total_ms == pytest.approx(450, abs=1.1)
    assert (turn.live.uplink_ms, turn.live.server_gap_ms, turn.live.downlink_ms) == (None, None, None)


def test_an_echo_measures_the_loops_minimum_latency() -> None:
    """The time of the last sample through the loop and back; an echo's server gap is one frame."""
    caller, agent = legs()
    t1_ms = 703.25 + 60
    at_ns = START + round((t1_ms + 20 - 200) * NS_PER_MS)
    sent = (Received(at_ns, at_ns, CLIP.pcm, len(CLIP.pcm)),)
    agent = replace(agent, sent=sent, outbound=render_playout(sent))
    caller = replace(caller, inbound=TimedAudio(START, noise_with(CLIP.pcm, t1_ms + 20 + 90 - 200)))
    (echo,) = live_scoring.measure_echo(caller, agent)
    assert echo.total_ms == pytest.approx(170, abs=0.3)
    assert echo.server_gap_ms == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_recording_agrees_for_either_order_of_channels(swapped: bool) -> None:
    """The caller's channel is recognised, and the total equals the live one; the recording may start at any time."""
    caller, agent = legs()
    scored, _ = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    head = make_comfort_noise(1234, 6)
    own = np.concatenate([head, noise_with(CLIP.pcm, 503.25)])
    other = np.concatenate([head, noise_with(REPLY, 703.25 + 450)])
    channels = Channels((other, own) if swapped else (own, other))
    channel = recording_comparison.find_caller_channel(channels, caller)
    assert channel == int(swapped)
    (total,) = recording_comparison.measure_mouth_to_ear_ms(channels, channel, caller, agent, scored)
    assert total == pytest.approx(450, abs=0.2)
    (alone,) = recording_comparison.measure_mouth_to_ear_ms(channels, channel, caller, None, scored)
    assert alone == pytest.approx(450, abs=1.1)


def test_the_recording_can_contradict_a_reply_that_the_live_legs_missed() -> None:
    """The search in the recording does not depend on the live result."""
    caller, agent = legs()
    deaf = replace(caller, inbound=TimedAudio(START, make_comfort_noise(24_000, 3)))
    scored, _ = live_scoring.score_both_legs(deaf, agent, PLANNED, (), alias="live-0", cold=False)
    assert scored[0].live is not None
    assert scored[0].live.total_ms is None
    channels = Channels((noise_with(CLIP.pcm, 503.25), noise_with(REPLY, 703.25 + 450)))
    (total,) = recording_comparison.measure_mouth_to_ear_ms(channels, 0, deaf, agent, scored)
    assert total == pytest.approx(450, abs=0.2)


def test_a_recording_without_the_caller_is_not_used() -> None:
    """Neither channel is taken to be the caller's."""
    caller, _ = legs()
    assert (
        recording_comparison.find_caller_channel(
            Channels((make_comfort_noise(9000, 31), make_comfort_noise(9000, 32))), caller
        )
        is None
    )


def live_turn(outcome: Outcome = Outcome.ANSWERED) -> TurnRecord:
    caller, agent = legs()
    (turn,), _ = live_scoring.score_both_legs(caller, agent, PLANNED, (), alias="live-0", cold=False)
    return turn.model_copy(update={"outcome": outcome})


def test_a_live_run_is_measured_and_never_passes() -> None:
    """The sentence says that the run is diagnostic, and how many turns a bound on p95 needs."""
    judged = run_summary.judge_live_run([live_turn()], Evidence(planned_turns=1, complete=True))
    assert judged.verdict is Verdict.MEASURED
    assert "Live, diagnostic, not judged: 450 ms" in judged.sentence
    assert "1 turn of the 59" in judged.sentence


def test_a_live_run_with_a_fault_is_invalid() -> None:
    """An error in the run makes it INVALID, as in any other run."""
    judged = run_summary.judge_live_run(
        [live_turn()], Evidence(planned_turns=1, complete=False, faults=("the line was busy",))
    )
    assert judged.verdict is Verdict.INVALID


def test_the_summary_remarks_what_it_does_not_show() -> None:
    """Two Twilio legs may never touch the telephone network; a trial account is named."""
    summary = run_summary.summarise_live_run(
        [live_turn()], calls=1, alone=False, fake=False, trial=True, jitter_ms=[None, 2.0], echoes=[], witness=None,
        worst_case_usd=0.2,
    )  # fmt: skip
    assert run_summary.NOT_THE_NETWORK in summary.remarks
    assert run_summary.TRIAL in summary.remarks
    assert summary.total_ms == pytest.approx(450, abs=0.2)


def test_late_turns_count_only_if_there_are_no_others() -> None:
    """If the instrument was late in every turn, the medians are those of the late turns, and a remark says so."""
    summary = run_summary.summarise_live_run(
        [live_turn(Outcome.INVALID)], calls=1, alone=False, fake=True, trial=None, jitter_ms=[], echoes=[],
        witness=None, worst_case_usd=None,
    )  # fmt: skip
    assert run_summary.ALL_LATE in summary.remarks
    assert summary.turns == 1
    mixed = run_summary.summarise_live_run(
        [live_turn(Outcome.INVALID), live_turn()], calls=1, alone=False, fake=True, trial=None, jitter_ms=[],
        echoes=[], witness=None, worst_case_usd=None,
    )  # fmt: skip
    assert run_summary.ALL_LATE not in mixed.remarks
    assert mixed.turns == 1
