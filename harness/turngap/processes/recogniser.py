"""The recogniser, in a process of its own: the words in pieces of recorded audio, with their times.

It is the agent package's (`python -m turngap_agent.transcribe`). Nothing is fetched: where it or its weights are
missing, the answer says what to install.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from turngap.processes import child

MODULE = "turngap_agent.transcribe"
START_TIMEOUT_S, PIECE_TIMEOUT_S = 120.0, 20.0
_NICE = 5


def transcribe_pieces(requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return an answer for each request, in order, or why there is none.

    Args:
        requests: Of each piece `wav` (a path; 8 kHz), `channel`, `start_s` and `end_s`.

    Returns:
        Of each piece `words`, a list of `text`, `start_ms` and `end_ms` from the piece's start, and `voice`, a list of
        [start_ms, end_ms] where a voice detector finds a voice; or `error`. And "", or why nothing was transcribed.
    """
    command = child.leashed(child.python_command(MODULE), nice=_NICE)
    text = "".join(json.dumps(request) + "\n" for request in requests)
    try:
        result = subprocess.run(
            command,
            input=text,
            env=child.plain_environment(fetches=True),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S + PIECE_TIMEOUT_S * len(requests),
            start_new_session=True,  # Ctrl-C ends the calls; what they measured is finished all the same
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], "the recogniser did not answer in time"
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if lines and "error" in lines[0] and "code" in lines[0]:
        return [], str(lines[0]["error"])
    if len(lines) != len(requests) + 1:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return [], f"the recogniser ended early ({last})"
    return lines[1:], ""
