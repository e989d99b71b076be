"""How many live calls were placed: written before each call, read with suspicion, held by one process at a time.

A damaged ledger refuses calls: a limit that is forgotten when its file breaks is none. Times are the wall clock's; an
entry of the future counts, so that setting the clock back frees no call.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap.live.safety import MAX_CALLS_A_DAY, MAX_CALLS_A_RUN
from turngap.model.plural import plural

LEDGER_VARIABLE = "TURNGAP_LIVE_LEDGER"
DAY_S = 86_400
RETENTION_S = 7 * DAY_S


def default_path(environment: Mapping[str, str]) -> Path:
    """Where it lies: TURNGAP_LIVE_LEDGER, else in the user's state folder."""
    if own := environment.get(LEDGER_VARIABLE):
        return Path(own)
    state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "turngap" / "live-calls.json"


class CallLedger:
    """The book of calls; while it is open, no other process can place one."""

    def __init__(self, path: Path, *, calls_a_run: int = MAX_CALLS_A_RUN, calls_a_day: int = MAX_CALLS_A_DAY) -> None:
        self._path = path
        self._limits = calls_a_run, calls_a_day
        self._lock: int | None = None
        self._placed = 0

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            UsageError: another process has it, or it can't be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise UsageError("another live call is going on: one at a time") from None
        except OSError as fault:
            raise UsageError(
                f"{self._path}: no ledger can be kept there ({fault.strerror}); set {LEDGER_VARIABLE}"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check(self, calls: int, unix_ns: int) -> None:
        """See that so many more calls may be placed now.

        Raises:
            UsageError: they may not, or the ledger is damaged.
        """
        a_run, a_day = self._limits
        if self._placed + calls > a_run:
            raise UsageError(f"{plural(self._placed + calls, 'call')} in this run: at most {a_run} are placed in one")
        today = self._recent(self._read(), unix_ns, DAY_S)
        if len(today) + calls > a_day:
            raise UsageError(
                f"{len(today)} live calls were placed in the last 24 hours, {calls} more are over {a_day}; "
                f"wait, or look into {self._path}"
            )

    def reserve(self, unix_ns: int) -> None:
        """Enter one call, on the disk when this returns: call it before dialling, never after.

        Raises:
            UsageError: it may not be placed, or can't be entered.
        """
        if self._lock is None:
            raise UsageError("the ledger is not held: no call is placed")
        self.check(1, unix_ns)
        calls = [*self._recent(self._read(), unix_ns, RETENTION_S), unix_ns // 10**9]
        try:
            documents.replace_file(self._path, json.dumps({"schema_version": 1, "calls_unix_s": calls}))
        except OSError as fault:
            raise UsageError(f"{self._path}: the call can't be entered ({fault.strerror}); none is placed") from None
        self._placed += 1

    def _read(self) -> list[int]:
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"{self._path}: the ledger of calls can't be read; no call is placed") from None
        try:
            calls = json.loads(text)["calls_unix_s"]
            if not isinstance(calls, list) or not all(type(one) is int for one in calls):
                raise TypeError  # noqa: TRY301  # one message for whatever is wrong with it
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self._path}: the ledger of calls is damaged; see what was placed in Twilio's console, then delete it"
            ) from None
        return calls

    @staticmethod
    def _recent(calls: list[int], unix_ns: int, seconds: int) -> list[int]:
        return [at for at in calls if at > unix_ns // 10**9 - seconds]
