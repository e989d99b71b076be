"""Pins every rule that keeps a telephone from ringing by mistake, each by an attempt to break it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.live import safety
from turngap_agent.errors import UsageError

A, B = "+15005550011", "+15005550010"


@pytest.mark.parametrize(
    "text",
    [None, "", "15005550006", "+0500555000", "+1500", "+1500555000612345", "911", "+1500555000x", " +15005550006",
     "+15005550006\n", "+1 500 555 0006", "+١٥٠٠٥٥٥٠٠٠٦", "sip:a@b", "client:x", "+15005550006,+15005550007"],
)  # fmt: skip
def test_only_e164_is_a_number(text: str | None) -> None:
    """No short codes, no spaces, no other digits, no addresses, no lists."""
    with pytest.raises(UsageError, match=r"E\.164"):
        safety.parse_number(text, "--to")


@given(st.text(max_size=20) | st.text("+0123456789 -", min_size=5, max_size=20))
def test_a_refused_number_is_not_repeated(text: str) -> None:
    """The message shows only the form of a refused text: a real number may be in it."""
    try:
        number = safety.parse_number(text, "--to")
    except UsageError as error:
        shown = str(error).replace("+15005550006", "").replace("7 to 15", "").replace("E.164", "")
        assert not any(char.isdigit() for char in shown)
    else:
        assert number == text
        assert number.startswith("+")


def test_nothing_is_allowed_by_default() -> None:
    """An empty allow-list, or none, allows no number."""
    for environment in ({}, {safety.ALLOWED: ""}, {safety.ALLOWED: " , ,"}):
        with pytest.raises(UsageError, match="not on the allow-list"):
            safety.check_allowed(A, safety.read_allow_list(environment), "the number")


def test_a_list_allows_whole_numbers_only() -> None:
    """A part or an extension of an allowed number is refused, and not shown."""
    allowed = safety.read_allow_list({safety.ALLOWED: f"{A}, {B}"})
    safety.check_allowed(A, allowed, "the number")
    for other in (A[:-1], A + "0", "+15005550012"):
        with pytest.raises(UsageError) as caught:
            safety.check_allowed(other, allowed, "the number")
        assert other not in str(caught.value)


def test_a_list_with_a_wildcard_or_a_mistake_allows_nothing(tmp_path: Path) -> None:
    """One entry that is not a number makes the whole list refused."""
    file = tmp_path / "numbers"
    for text in (f"{A}\n+1*\n", f"{A}\nall\n", "*"):
        file.write_text(text)
        with pytest.raises(UsageError, match="allow-list"):
            safety.read_allow_list({}, file)


def test_an_allow_list_file_has_one_number_per_line(tmp_path: Path) -> None:
    """Comments are ignored; the file of the command line takes precedence over that of the environment."""
    file = tmp_path / "numbers"
    file.write_text(f"# ours\n{A}  # the agent\n\n")
    assert safety.read_allow_list({safety.ALLOWED: B}, file) == {A, B}
    assert safety.read_allow_list({safety.ALLOWED_FILE: str(file)}) == {A}
    with pytest.raises(UsageError, match="can't be read"):
        safety.read_allow_list({}, tmp_path / "none")


def test_the_number_must_be_confirmed() -> None:
    """Without --confirm, or with another number, the call is refused."""
    safety.check_confirmed(A, A)
    for confirm in (None, "", B, A[1:], "yes"):
        with pytest.raises(UsageError, match="--confirm"):
            safety.check_confirmed(A, confirm)


@pytest.mark.parametrize("ci", ["true", "1", "True", "yes", "woodpecker"])
def test_a_call_from_ci_needs_option_and_variable(ci: str) -> None:
    """Neither the option nor the variable alone is enough."""
    environment = {"CI": ci}
    for in_ci, variables in ((False, {}), (True, {}), (False, {safety.IN_CI: "true"}), (True, {safety.IN_CI: "no"})):
        with pytest.raises(UsageError) as caught:
            safety.check_ci(environment | variables, in_ci)
        assert caught.value.code == "usage.ci"
    safety.check_ci(environment | {safety.IN_CI: "true"}, in_ci=True)


def test_outside_ci_neither_is_needed() -> None:
    """CI unset, empty or false."""
    for environment in ({}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}):
        safety.check_ci(environment, in_ci=False)


@pytest.mark.parametrize("calls", [0, -1, safety.MAX_CALLS_A_RUN + 1])
def test_the_number_of_calls_is_limited(calls: int) -> None:
    """No calls, or too many, are refused."""
    with pytest.raises(UsageError, match="calls"):
        safety.check_calls(calls)


def test_the_time_limit_has_a_margin_and_a_maximum() -> None:
    """Half a minute more than needed, ten minutes at most."""
    assert safety.time_limit_s(40.2) == 71
    with pytest.raises(UsageError, match="more --calls"):
        safety.time_limit_s(safety.MAX_TIME_LIMIT_S)


def test_the_maximum_cost_counts_started_minutes_of_the_time_limit() -> None:
    """61 s cost two minutes."""
    cost = safety.check_cost(3, 61, 0.05, 1.0)
    assert cost.usd == pytest.approx(0.30)
    assert "0.30 USD" in cost.sentence


@pytest.mark.parametrize(
    ("calls", "price", "cap"),
    [(10, 0.10, 1.0), (1, 0.0, 1.0), (1, -1.0, 1.0), (1, math.nan, 1.0), (1, 0.1, math.inf), (1, 0.1, math.nan),
     (1, math.inf, 1.0), (1, 0.1, 0.0)],
)  # fmt: skip
def test_the_cost_limit_cannot_be_exceeded(calls: int, price: float, cap: float) -> None:
    """A cost over the limit, or a price or limit that is not a positive number, is refused."""
    with pytest.raises(UsageError, match="--max-cost"):
        safety.check_cost(calls, 120, price, cap)
