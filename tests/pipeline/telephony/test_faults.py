"""The fault that a call asks for, as a custom parameter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.errors import ProtocolError
from turngap_agent.telephony.faults import (
    PARAMETER,
    Fault,
    FaultKind,
    FaultStage,
    Moment,
    can_happen,
    format_parameters,
    parse_parameters,
)

FAULTS = st.builds(
    Fault, st.sampled_from(FaultStage), st.sampled_from(FaultKind), st.sampled_from(Moment), st.booleans()
).filter(lambda fault: can_happen(fault.stage, fault.kind))


@given(FAULTS)
def test_a_fault_is_read_as_it_was_written(fault):
    """What `format_parameters` writes `parse_parameters` reads; other parameters change nothing."""
    assert parse_parameters({"turn-0": "14 hello", **format_parameters(fault)}) == fault


def test_without_the_parameter_there_is_no_fault():
    """A call that asks for nothing gets nothing."""
    assert parse_parameters({"turn-0": "14 hello"}) is None


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "expected STAGE KIND MOMENT once|always"),
        ("stt raise once", "expected STAGE KIND MOMENT once|always"),
        ("sendin raise first-word once", "did you mean 'sending'?"),
        ("stt rise first-word once", "did you mean 'raise'?"),
        ("stt raise first-wrd once", "did you mean 'first-word'?"),
        ("stt raise first-word twice", "not 'twice'"),
        ("sending kill first-word once", "sending is no engine"),
    ],
)
def test_a_malformed_fault_is_refused(value, part):
    """One line that names the parameter, its value and what is wrong with it."""
    with pytest.raises(ProtocolError) as refused:
        parse_parameters({PARAMETER: value})
    assert refused.value.code == "protocol.fault"
    assert part in str(refused.value)
    assert PARAMETER in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text())
def test_any_text_is_read_or_refused(value):
    """No value of the parameter raises anything else."""
    try:
        fault = parse_parameters({PARAMETER: value})
    except ProtocolError:
        return
    assert str(fault) == " ".join(value.split())
