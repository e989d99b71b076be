"""The ledger of live calls placed: written before each call, and locked by one process at a time.

A damaged ledger refuses calls: a limit must not be lifted by breaking its file. Times are the wall clock's; entries in
the future count, so that setting the clock back allows no further call.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from turngap_agent import files
from turngap_agent.errors import UsageError

from turngap.live.safety import MAX_CALLS_A_DAY, MAX_CALLS_A_RUN
from turngap.model.plural import plural

LEDGER_VARIABLE = "TURNGAP_LIVE_LEDGER"
DAY_S = 86_400
RETENTION_S = 7 * DAY_S


def default_path(environment: Mapping[str, str]) -> Path:
    """Return the ledger's path: TURNGAP_LIVE_LEDGER, or a file in the user's state folder."""
    if own := environment.get(LEDGER_VARIABLE):
        return Path(own)
    state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "turngap" / "live-calls.json"


class CallLedger:
    """The ledger, a context manager; while it is open, no other process can place a call."""

    def __init__(self, path: Path, *, calls_a_run: int = MAX_CALLS_A_RUN, calls_a_day: int = MAX_CALLS_A_DAY) -> None:
        self._path = path
        self._limits = calls_a_run, calls_a_day
        self._lock: int | None = None
        self._placed = 0

    def __enter__(self) -> Self:
        """Lock the ledger.

        Raises:
            UsageError: another process holds it, or it can't be created.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise UsageError(
                "another live call is in progress; wait for it: only one may run at a time", code="usage.live-call"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{self._path}: can't write the call ledger there ({error.strerror}); choose a path with "
                f"{LEDGER_VARIABLE}",
                code="usage.ledger",
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check(self, calls: int, unix_ns: int) -> None:
        """Check that `calls` more calls may be placed now.

        Raises:
            UsageError: they may not, or the ledger is damaged.
        """
        per_run, per_day = self._limits
        if self._placed + calls > per_run:
            raise UsageError(
                f"{plural(self._placed + calls, 'call')} in this run, but at most {per_run} are allowed",
                code="usage.call-limit",
            )
        today = self._recent(self._read(), unix_ns, DAY_S)
        if len(today) + calls > per_day:
            raise UsageError(
                f"{plural(len(today), 'live call')} in the last 24 hours and {calls} more exceed the limit of "
                f"{per_day}; wait, or check the ledger {self._path}",
                code="usage.call-limit",
            )

    def reserve(self, unix_ns: int) -> None:
        """Record one call; it is on disk when this returns. Call it before dialling, never after.

        Raises:
            UsageError: the call may not be placed, or can't be recorded.
        """
        if self._lock is None:
            raise UsageError("the call ledger is not locked: no call was placed")
        self.check(1, unix_ns)
        calls = [*self._recent(self._read(), unix_ns, RETENTION_S), unix_ns // 10**9]
        try:
            files.replace_file(self._path, json.dumps({"schema_version": 1, "calls_unix_s": calls}))
        except OSError as error:
            raise UsageError(
                f"{self._path}: can't record the call ({error.strerror}); no call was placed", code="usage.ledger"
            ) from None
        self._placed += 1

    def _read(self) -> list[int]:
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError):
            raise UsageError(
                f"{self._path}: can't read the call ledger; no call was placed", code="usage.ledger"
            ) from None
        try:
            calls = json.loads(text)["calls_unix_s"]
            if not isinstance(calls, list) or not all(type(time) is int for time in calls):
                raise TypeError  # noqa: TRY301  # one message for every kind of damage
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self._path}: the call ledger is damaged; check in Twilio's console which calls were placed, then "
                "delete the file",
                code="usage.ledger",
            ) from None
        return calls

    @staticmethod
    def _recent(calls: list[int], unix_ns: int, seconds: int) -> list[int]:
        return [at for at in calls if at > unix_ns // 10**9 - seconds]
