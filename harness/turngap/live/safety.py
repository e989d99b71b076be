"""The rules that a live call must meet before it is dialled: numbers, permission, CI, cost. Pure.

Every rule refuses by default, and none can be turned off by a setting that is easily left on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from turngap_agent.errors import UsageError

from turngap.live import masking
from turngap.model.plural import plural

ALLOWED, ALLOWED_FILE = "TURNGAP_ALLOWED_NUMBERS", "TURNGAP_ALLOWED_NUMBERS_FILE"
IN_CI = "TURNGAP_LIVE_IN_CI"
MAX_CALLS_A_RUN = 10
MAX_CALLS_A_DAY = 30
MAX_TIME_LIMIT_S = 600
RING_S = 30
"""How long it may ring before it counts as unanswered."""
DEFAULT_PRICE_USD = 0.10
"""An assumption for one minute of a call with all its legs and recordings; not from Twilio's price list."""
DEFAULT_MAX_COST_USD = 1.0
_E164 = re.compile(r"\+[1-9]\d{6,14}")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run can cost at most: every call takes its whole time limit."""

    calls: int
    minutes_a_call: int
    price_usd: float

    @property
    def usd(self) -> float:
        """The total."""
        return self.calls * self.minutes_a_call * self.price_usd

    @property
    def sentence(self) -> str:
        """The total and how it is computed."""
        return (
            f"costs at most {self.usd:.2f} USD: {plural(self.calls, 'call')} of {self.minutes_a_call} min at an "
            f"assumed {self.price_usd:g} USD a minute for all legs of a call (--price-per-minute)"
        )


def parse_number(text: str | None, number_name: str) -> str:
    """Return `text` if it is a number in E.164; `number_name` names it in errors.

    Raises:
        UsageError: it is missing or has another form.
    """
    if not text:
        raise UsageError(f"{number_name} is missing: give a number in E.164, as in +15005550006")
    if not _E164.fullmatch(text):
        shown = "".join("N" if char.isdigit() else char if char.isprintable() else "?" for char in text[:20])
        raise UsageError(
            f"{number_name} {shown!r} is not an E.164 number: expected + and 7 to 15 digits, as in +15005550006"
        )
    return text


def read_allow_list(environment: Mapping[str, str], file: Path | None = None) -> frozenset[str]:
    """Read the allow-list: TURNGAP_ALLOWED_NUMBERS (separated by commas) and a file (one number a line, # comments).

    Raises:
        UsageError: the file can't be read, or an entry is not an E.164 number: then the whole list is refused.
    """
    entries = [part.strip() for part in environment.get(ALLOWED, "").split(",")]
    path = file if file is not None else Path(environment[ALLOWED_FILE]) if environment.get(ALLOWED_FILE) else None
    if path is not None:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the allow-list {path} can't be read ({getattr(error, 'strerror', error)})") from None
        entries += [line.split("#")[0].strip() for line in lines]
    return frozenset(parse_number(entry, "an entry of the allow-list") for entry in entries if entry)


def check_allowed(number: str, allowed: frozenset[str], number_name: str) -> None:
    """Check that a number is on the allow-list.

    Raises:
        UsageError: it is not.
    """
    if number not in allowed:
        empty = "the list is empty" if not allowed else f"the list has {len(allowed)} others"
        raise UsageError(
            f"{number_name} {masking.mask_number(number)} is not on the allow-list "
            f"({empty}): add it to {ALLOWED} or {ALLOWED_FILE}",
            code="usage.allow-list",
        )


def check_confirmed(to: str, confirm: str | None) -> None:
    """Check that the number to dial was given twice.

    Raises:
        UsageError: --confirm is missing or names another number.
    """
    if confirm is None:
        raise UsageError(
            "a live call rings a telephone and costs money: repeat its number with --confirm NUMBER",
            code="usage.confirm",
        )
    if confirm != to:
        raise UsageError(
            f"--confirm names another number than the one to be dialled ({masking.mask_number(to)})",
            code="usage.confirm",
        )


def check_ci(environment: Mapping[str, str], in_ci: bool) -> None:
    """Check that CI dials only on purpose: it takes the option *and* the variable.

    Raises:
        UsageError: CI is set, and not both were given.
    """
    if environment.get("CI", "").strip().lower() in ("", "0", "false", "no"):
        return
    if not (in_ci and environment.get(IN_CI, "").strip().lower() in ("1", "true", "yes")):
        raise UsageError(f"CI is set: a live call from CI needs both --in-ci and {IN_CI}=true", code="usage.ci")


def check_calls(calls: int) -> None:
    """Check the number of calls.

    Raises:
        UsageError: there are none, or more than a run may place.
    """
    if not 1 <= calls <= MAX_CALLS_A_RUN:
        raise UsageError(f"{calls} calls: a run places 1 to {MAX_CALLS_A_RUN}, including the echo call")


def time_limit_s(needed_s: float) -> int:
    """Return the time limit that Twilio enforces on a call: the time it needs and half a minute.

    Raises:
        UsageError: it is more than a smoke call may take.
    """
    limit = math.ceil(needed_s) + 30
    if limit > MAX_TIME_LIMIT_S:
        raise UsageError(f"a call would take {limit} s, over {MAX_TIME_LIMIT_S} s: use more --calls or fewer --turns")
    return limit


def check_cost(calls: int, limit_s: int, price_usd: float, max_usd: float) -> Cost:
    """Return what the calls can cost at most: started minutes of the time limit count whole.

    Raises:
        UsageError: it is more than `max_usd`, or a price is not a positive number.
    """
    if not (math.isfinite(price_usd) and price_usd > 0 and math.isfinite(max_usd) and max_usd > 0):
        raise UsageError("--price-per-minute and --max-cost must be greater than 0")
    cost = Cost(calls, math.ceil(limit_s / 60), price_usd)
    if cost.usd > max_usd:
        raise UsageError(
            f"{cost.sentence}; the limit is {max_usd:.2f} USD: place fewer calls, or raise --max-cost",
            code="usage.cost",
        )
    return cost
