"""What must hold before a telephone is made to ring: numbers, permission, CI, what it may cost. Pure.

Every rule refuses by default, and nothing here can be turned off by a setting that is easily left on.
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
"""Assumed for a minute of one call, all its legs and recordings together; not Twilio's price list."""
DEFAULT_MAX_COST_USD = 1.0
_E164 = re.compile(r"\+[1-9]\d{6,14}")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run can cost at worst: every call as long as Twilio lets it go on."""

    calls: int
    minutes_a_call: int
    price_usd: float

    @property
    def usd(self) -> float:
        """All of it."""
        return self.calls * self.minutes_a_call * self.price_usd

    @property
    def sentence(self) -> str:
        """For the person who pays."""
        return (
            f"at worst {self.usd:.2f} USD: {plural(self.calls, 'call')} of {self.minutes_a_call} min at an assumed "
            f"{self.price_usd:g} USD a minute for all legs of a call (--price-per-minute)"
        )


def parse_number(text: str | None, what: str) -> str:
    """A number in E.164.

    Raises:
        UsageError: it is missing or has another form.
    """
    if not text:
        raise UsageError(f"{what} is missing: give a number in E.164, as in +15005550006")
    if not _E164.fullmatch(text):
        shown = "".join("N" if char.isdigit() else char if char.isprintable() else "?" for char in text[:20])
        raise UsageError(f"{what} {shown!r} is no number in E.164: + and 7 to 15 digits, as in +15005550006")
    return text


def read_allow_list(environment: Mapping[str, str], file: Path | None = None) -> frozenset[str]:
    """The allow-list: TURNGAP_ALLOWED_NUMBERS (with commas) and a file (one number a line, # for remarks).

    Raises:
        UsageError: the file can't be read, or an entry is no number in E.164: then none of it is believed.
    """
    entries = [part.strip() for part in environment.get(ALLOWED, "").split(",")]
    named = file if file is not None else Path(environment[ALLOWED_FILE]) if environment.get(ALLOWED_FILE) else None
    if named is not None:
        try:
            lines = named.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise UsageError(f"the allow-list {named} can't be read ({getattr(fault, 'strerror', fault)})") from None
        entries += [line.split("#")[0].strip() for line in lines]
    return frozenset(parse_number(entry, "an entry of the allow-list") for entry in entries if entry)


def check_allowed(asked: str, allowed: frozenset[str], what: str) -> None:
    """Refuse a number that is not on the list.

    Raises:
        UsageError: it is not.
    """
    if asked not in allowed:
        empty = "the list is empty" if not allowed else f"the list has {len(allowed)} others"
        raise UsageError(
            f"{what} {masking.mask_number(asked)} is not on the allow-list "
            f"({empty}): add it to {ALLOWED} or {ALLOWED_FILE}"
        )


def check_confirmed(to: str, confirm: str | None) -> None:
    """Whoever dials says the number twice.

    Raises:
        UsageError: --confirm is missing or names another number.
    """
    if confirm is None:
        raise UsageError("a live call rings a telephone and costs money: repeat its number with --confirm NUMBER")
    if confirm != to:
        raise UsageError(f"--confirm names another number than the one to be dialled ({masking.mask_number(to)})")


def check_ci(environment: Mapping[str, str], told: bool) -> None:
    """No telephone rings from CI by accident: it takes the option *and* the variable.

    Raises:
        UsageError: CI is set, and not both were given.
    """
    if environment.get("CI", "").strip().lower() in ("", "0", "false", "no"):
        return
    if not (told and environment.get(IN_CI, "").strip().lower() in ("1", "true", "yes")):
        raise UsageError(f"CI is set: no live call is placed from CI unless told twice, by --in-ci and {IN_CI}=true")


def check_calls(calls: int) -> None:
    """Raises: UsageError: none, or more than a run may place."""
    if not 1 <= calls <= MAX_CALLS_A_RUN:
        raise UsageError(f"{calls} calls: a run places 1 to {MAX_CALLS_A_RUN}, the echo call counted")


def time_limit_s(needed_s: float) -> int:
    """The limit that Twilio itself enforces on a call: what it needs, and half a minute.

    Raises:
        UsageError: more than a smoke call may take.
    """
    limit = math.ceil(needed_s) + 30
    if limit > MAX_TIME_LIMIT_S:
        raise UsageError(f"a call would take {limit} s, over {MAX_TIME_LIMIT_S} s: use more --calls or fewer --turns")
    return limit


def check_cost(calls: int, limit_s: int, price_usd: float, max_usd: float) -> Cost:
    """What it can cost, if that is within the cap. Begun minutes count whole, on Twilio's time limit.

    Raises:
        UsageError: it may cost more, or the numbers make no sense.
    """
    if not (math.isfinite(price_usd) and price_usd > 0 and math.isfinite(max_usd) and max_usd > 0):
        raise UsageError("--price-per-minute and --max-cost need a number over 0")
    cost = Cost(calls, math.ceil(limit_s / 60), price_usd)
    if cost.usd > max_usd:
        raise UsageError(f"{cost.sentence}; the cap is {max_usd:.2f} USD: fewer calls, or raise --max-cost")
    return cost
