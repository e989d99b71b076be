"""One key chooses how patient the agent is; what the section gives itself counts before it."""

from __future__ import annotations

import pytest
from turngap_agent import profile
from turngap_agent.errors import ProfileError


def test_the_default_is_patient_and_one_key_makes_it_eager() -> None:
    """The eager pace asks for less silence, begins sooner, and accepts more cut-offs."""
    patient = profile.load("cpu").endpointing
    eager = profile.load("cpu", ("endpointing.pace=eager",)).endpointing
    assert (patient.pace, eager.pace) == ("patient", "eager")
    assert eager.min_silence_ms < patient.min_silence_ms
    assert eager.max_silence_ms < patient.max_silence_ms
    assert eager.provisional_ms < patient.provisional_ms
    assert eager.cut_off_rate is not None
    assert patient.cut_off_rate is not None
    assert eager.cut_off_rate > patient.cut_off_rate


def test_a_pace_can_be_changed_back() -> None:
    """An override of the pace sets its settings anew, also after others were set."""
    plain = profile.load("cpu")
    eager = profile.change(plain, ("endpointing.pace=eager", "stt.threads=2"))
    again = profile.change(eager, ("endpointing.pace=patient", "stt.threads=1"))
    assert again == plain


@pytest.mark.parametrize(
    ("overrides", "landing_ms"),
    [
        ((), 300),
        (("endpointing.pace=eager",), 500),
        (("endpointing.pace=eager", "endpointing.pace=patient"), 300),
        (("endpointing.pace=eager", "barge_in.landing_ms=0"), 0),
        (("barge_in.landing_ms=700", "endpointing.pace=eager"), 700),
        (("endpointing.pace=null",), 300),
    ],
)
def test_the_pace_says_how_softly_a_cut_off_lands(overrides: tuple[str, ...], landing_ms: int) -> None:
    """The eager one gives way for longer, by the same key; what `barge_in` gives itself counts before it."""
    assert profile.load("cpu", overrides).landing_ms == landing_ms


@pytest.mark.parametrize("order", [1, -1])
def test_a_setting_beside_the_pace_counts_before_it(order: int) -> None:
    """In whichever order they are given."""
    overrides = ("endpointing.pace=eager", "endpointing.min_silence_ms=320")[::order]
    settings = profile.load("cpu", overrides).endpointing
    assert (settings.min_silence_ms, settings.provisional_ms) == (320, 64)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("endpointing.pace=hasty", "`endpointing.pace` must be"),
        ("endpointing.paces={patient: {min_silence: 300}}", "unknown key `endpointing.paces.patient.min_silence`"),
        ("endpointing.paces={}", "endpointing.pace is patient, and `paces` has none"),
        ("endpointing.cut_off_rate=1.5", "`endpointing.cut_off_rate`"),
        ("endpointing.speculate=none", "words_and_melody reads the transcript"),
        ("endpointing.policy=smart_turn", "words_and_melody reads the transcript"),
    ],
)
def test_what_does_not_fit_is_one_line(override: str, reason: str) -> None:
    """With the key, and what to do."""
    with pytest.raises(ProfileError) as caught:
        profile.load("cpu", (override,))
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_profile_without_paces_refuses_one() -> None:
    """There is nothing that the name could mean."""
    with pytest.raises(ProfileError, match="`paces` has none"):
        profile.load("scripted", ("endpointing.pace=eager",))
