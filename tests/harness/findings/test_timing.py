"""Messages that were too long to be read, and floods that ended a call, are told."""

from __future__ import annotations

from dataclasses import replace

from turngap.calibration.voice import make_voice
from turngap.findings.timing import find_timing_faults
from turngap.findings.wording import describe_finding
from turngap.model.finding import FindingKind
from turngap.model.records import CallEnd

from tests.harness.builders import Call


def test_messages_that_were_not_read_are_huge() -> None:
    """12 MiB of base64 are 1,180 s of μ-law; a refused message of no length is none."""
    record = replace(Call().utter(1000, 2010).ends(4_000), refused_bytes=(12 * 2**20, 9 * 2**20))
    (finding,) = find_timing_faults(record, ())
    assert (finding.kind, finding.count, round(finding.value)) == (FindingKind.HUGE_MESSAGE, 2, 1180)
    assert find_timing_faults(replace(record, refused_bytes=(0,)), ()) == []


def test_a_flood_that_ended_the_call_is_told_once() -> None:
    """Whatever was read of it: a second finding of the same would say nothing new."""
    call = Call().utter(1000, 2010)
    for _ in range(1_500):
        call.hear(2410, make_voice(8, 1))
    record = call.ends(4_000)
    assert [finding.kind for finding in find_timing_faults(record, ())] == [FindingKind.FLOOD]
    ended = replace(record, end=CallEnd.FLOODED)
    assert [finding.kind for finding in find_timing_faults(ended, ())] == [FindingKind.FLOODED]


def test_every_kind_has_its_words() -> None:
    """What was found and the remedy, with the counts in them."""
    for kind in FindingKind:
        text, remedy = describe_finding(kind, 2, 2, 3.0)
        assert text
        assert remedy
        assert "{" not in text + remedy
