"""Connections that have not said yet what they want: bounded in number, and the oldest makes room for the next."""

from __future__ import annotations

from collections.abc import Callable


class WaitingRoom:
    """Holds what waits, in order of arrival. A stranger who opens thousands of sockets keeps no caller out."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, who: object, send_away: Callable[[], None]) -> None:
        """Let `who` wait; if there is no place left, the one that has waited for longest is sent away."""
        if len(self._waiting) >= self._places:
            oldest = next(iter(self._waiting))
            self._waiting.pop(oldest)()
        self._waiting[who] = send_away

    def leave(self, who: object) -> None:
        """`who` has said what it wants, or has gone; one that was sent away may leave too."""
        self._waiting.pop(who, None)
