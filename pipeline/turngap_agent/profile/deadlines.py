"""The section `deadlines` of a profile: how long each engine may take before a caller hears an apology."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from turngap_agent.documents import FrozenModel

Deadline = Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)]


class Deadlines(FrozenModel):
    """Longest times, in ms. What an engine does later than that is not waited for.

    They are for engines that hang, not for slow ones: each is several times what the stage takes on a busy machine.
    """

    vad_ms: Deadline = 1000
    """The detector's judgement of what was heard since the last one; the call goes on with a detector by level."""
    turn_ms: Deadline = 1000
    """The turn model's judgement of a pause; silence then ends the turn."""
    stt_ms: Deadline = 3000
    """The transcript of an utterance."""
    llm_first_token_ms: Deadline = 3000
    """The first token of a reply; and the judgement of the caller's sentence, where a turn model asks for it."""
    llm_token_ms: Deadline = 2000
    """Each token after it."""
    tts_first_audio_ms: Deadline = 3000
    """The first audio of a clause."""
    tts_audio_ms: Deadline = 2000
    """Each piece of it after that."""
    silence_ms: Deadline = 3500
    """All stages together: silence from the confirmed end of the caller's turn, or from the last audio that was
    played, to the next audio of the reply."""
    stuck_ms: Deadline = 5000
    """An engine that still works on what was given up for so long is stuck, and is replaced by a fresh one."""
    replacements: int = Field(3, ge=0)
    """How many engines of a stage may be replaced; each may leave its thread and its memory behind."""
    spares: tuple[Literal["turn", "stt", "llm", "tts"], ...] = ()
    """Stages of which a second, warm engine is kept, which takes the place of a stuck one at once: neighbours of a call
    whose engine is stuck wait, and hear no apology. Its memory is taken twice."""
    loop_ms: Deadline = 1000
    """An event loop that stands still for so long is told in the log and counted."""
    loop_end_s: float | None = Field(30, ge=2)
    """One that stands still for so long ends the process with code 2: nobody is served, `/healthz` neither; null:
    never."""
    failed_turns: int | None = Field(2, ge=1)
    """After so many failed turns in a row the call is ended, with `announcements.failing`; null: never."""
