"""Pins what no text may show: numbers, SIDs, secrets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap.live.masking import HIDDEN, Masker, mask_number

SID = "CA" + "0123456789abcdef" * 2


def test_numbers_keep_two_digits_however_they_are_written() -> None:
    """In E.164, with separators, or quoted for a URL."""
    masker = Masker()
    for text in ("+15005550006", "+1 (500) 555-0006", "%2B15005550006", "+1.500.555.0006"):
        assert masker.text(f"dialling {text} now") == "dialling +…06 now"
    assert mask_number("+15005550006") == "+…06"


def test_a_known_number_is_hidden_without_its_plus_too() -> None:
    """A log may drop the +."""
    assert Masker(numbers=["+15005550006"]).text("To=15005550006") == f"To={HIDDEN}"


def test_sids_of_every_kind_are_hidden() -> None:
    """The two letters say what it was."""
    assert Masker().text(f"/Accounts/AC{'0' * 32}/Calls/{SID}.json") == "/Accounts/AC…/Calls/CA….json"


def test_secrets_and_basic_credentials_are_hidden() -> None:
    """Those that were given, wherever they stand, and any that a header would carry."""
    masker = Masker(["s3cretvalue"])
    assert masker.text("auth s3cretvalue!") == f"auth {HIDDEN}!"
    assert masker.text("Authorization: Basic QUM6c2VjcmV0MTIz") == f"Authorization: Basic {HIDDEN}"


def test_times_and_other_numbers_are_left_alone() -> None:
    """Only what a + leads is taken for a telephone number."""
    text = "t0 123456789012345 ns, 20261122T120753Z, +1.5 ms, +12 ms"
    assert Masker().text(text) == text


def test_data_is_masked_to_its_leaves_and_keeps_its_types() -> None:
    """Keys too; numbers stay numbers."""
    data = {"+15005550006": [SID, 1.5, None, {"x": ("+15005550006",)}]}
    assert Masker().data(data) == {"+…06": ["CA…", 1.5, None, {"x": ("+…06",)}]}


@given(st.text(), st.text(alphabet="0123456789", min_size=7, max_size=14), st.text())
def test_no_number_survives(before: str, digits: str, after: str) -> None:
    """Wherever it is in a text."""
    number = "+1" + digits
    assert number not in Masker(numbers=[number]).text(f"{before}{number}{after}")
