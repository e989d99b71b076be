"""What the benchmark of lines without frames promises, and that each of it can fail."""

from __future__ import annotations

import pytest

from benchmarks.silent_lines import Pair, judge

FINE = [Pair(380.0, 390.0), Pair(370.0, 350.0), Pair(390.0, 410.0)]


def broken(pairs: list[Pair]) -> list[str]:
    """The promises that do not hold."""
    return [promise.promise for promise in judge(pairs) if promise.holds is False]


def test_lines_that_are_answered_alike_hold_all_promises() -> None:
    """The largest difference has its sign: that of the line without frames."""
    assert broken(FINE) == []
    figures = {promise.promise: promise.value for promise in judge(FINE)}
    assert figures["median difference of the line without"] == 10
    assert figures["largest difference"] == pytest.approx(-20)


@pytest.mark.parametrize(
    ("pairs", "parts"),
    [
        ([*FINE, Pair(380.0, None)], ["calls answered"]),
        ([*FINE, Pair(380.0, 330.0)], ["largest difference, either way"]),
        ([Pair(380.0, 430.0)] * 3, ["median difference, either way", "largest difference, either way"]),
        ([], ["calls answered", "median difference, either way", "largest difference, either way"]),
    ],
)
def test_each_promise_can_fail(pairs: list[Pair], parts: list[str]) -> None:
    """A call without an answer, one that is answered too early or too late, most of them, none at all."""
    found = broken(pairs)
    assert len(found) == len(parts)
    assert all(name.startswith(part) for name, part in zip(found, parts, strict=True))
