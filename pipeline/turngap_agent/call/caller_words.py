"""The caller's words as one attempt comes to know them, and whether the language model takes them for a whole sentence.

A turn model that judges pauses waits for both; where neither will come it is told so at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from turngap_agent.call import Agent
from turngap_agent.call.checks import check_probability, check_transcript
from turngap_agent.call.question import Question
from turngap_agent.deadlines import Guard
from turngap_agent.endpointing import JudgesPauses, Pause
from turngap_agent.errors import EngineError, one_line
from turngap_agent.gpu import faults
from turngap_agent.llm import JudgesSentences, Request
from turngap_agent.stt import FixedWork, Transcript

_log = logging.getLogger("turngap.call")


class CallerWords:
    """The words of one attempt's question."""

    def __init__(self, agent: Agent, guard: Guard, question: Question, call_sid: str) -> None:
        self._engines, self._deadlines, self._guard = agent.engines, agent.profile.deadlines, guard
        self._question, self._call_sid = question, call_sid
        self.text = ""
        """As transcribed."""
        self._sentence_end: float | None = None
        """The language model's probability that the caller's sentence ends with these words."""
        self._read = asyncio.Event()

    async def transcribe(self) -> Transcript:
        """Transcribe what is not transcribed yet; return that part. `text` has all of the turn then.

        Raises:
            StageError: the recogniser failed.
        """
        question = self._question
        audio, script = question.audio[question.rest_from :], question.script

        async def work() -> Transcript:
            stt = self._engines.stt  # looked up when it is asked: it may have been replaced
            if script is not None and isinstance(stt, FixedWork):
                return await stt.transcribe_as(audio, script.words)
            return await stt.transcribe(audio)

        transcript = await self._guard.result("stt", self._deadlines.stt_ms, "stt_ms", work, check_transcript)
        self.text = f"{question.earlier_words} {transcript.text.strip()}".strip()
        return transcript

    async def pause(self) -> Pause:
        """Return what is known of the pause in which the attempt began: when its words are read, or will not be."""
        await self._read.wait()
        said = next((one.text for one in reversed(self._question.history) if one.role == "assistant"), "")
        return Pause(self._question.audio, self.text, self._sentence_end, said)

    @property
    def are_read(self) -> bool:
        """Whether nothing more will be known of them."""
        return self._read.is_set()

    def set_read(self) -> None:
        """Say that nothing more will be known of them."""
        self._read.set()

    def are_waited_for(self, *, confirmed: bool) -> bool:
        """Whether the turn model waits for the language model's reading of the words."""
        wanted = isinstance(self._engines.turn, JudgesPauses) and not confirmed
        return wanted and isinstance(self._engines.llm, JudgesSentences)

    async def read_sentence(self) -> None:
        """Ask the language model whether the words are a whole sentence, where no reply is generated that would say it.

        What it computes for that is kept, so that the reply costs so much less.
        """
        llm, question = self._engines.llm, self._question
        assert isinstance(llm, JudgesSentences)
        request = Request(question.call_block, question.history, self.text, question.max_tokens)
        limit_ms, key = self._deadlines.llm_first_token_ms, "llm_first_token_ms"
        try:
            self._sentence_end = await self._guard.result(
                "llm", limit_ms, key, lambda: llm.end_probability(request), check_probability
            )
        except EngineError as error:  # the turn then ends by silence; the reply will show whether the engine works
            faults.WATCH.report("an engine of the agent", str(error))
            _log.error("%s: reading the caller's words: %s", self._call_sid, one_line(error))
        self.set_read()

    def sentence_end_setter(self) -> Callable[[float], None] | None:
        """Return what takes the probability from a reply's own computation; None if nobody waits for it."""
        return None if self.are_read else self._note_sentence_end

    def _note_sentence_end(self, probability: float) -> None:
        with contextlib.suppress(TypeError, ValueError):  # the turn then ends by silence
            self._sentence_end = check_probability(probability)
        self.set_read()
