"""The end of the process within a bound: its event loop and its interpreter would wait for a stuck thread for ever."""

from __future__ import annotations

import logging
import os
import threading

LEAVE_S = 2.0
"""How long loop and interpreter may take to end once all calls are over and all engines were closed, or given up."""
_log = logging.getLogger("turngap.hosting")


def leave_within(seconds: float, code: int) -> None:
    """End the process with `code` after that time, unless it has ended by itself. There is nothing left to save."""

    def leave() -> None:
        threading.Event().wait(seconds)
        _log.warning("a thread does not end, perhaps a stuck engine's: the process ends without it")
        logging.shutdown()
        os._exit(code)

    threading.Thread(target=leave, name="leaving", daemon=True).start()
