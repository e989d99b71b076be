"""What an agent with random weights receives about a call: each turn's words and the length of its reply.

So the work of a turn is the same in every run and on every machine. Other agents receive nothing: they have to listen.
"""

from __future__ import annotations

from collections.abc import Mapping

from turngap_agent.telephony import script
from turngap_agent.telephony.script import TurnScript

from turngap.corpus.clips import Corpus
from turngap.scenario import PlannedCall
from turngap.session.request import Request

NOTE = (
    "the work of each turn is fixed by the scenario: the transcription decodes its reference's tokens and two more, "
    "the reply has `reply_tokens`"
)


def custom_parameters(request: Request, call: PlannedCall, corpus: Corpus) -> Mapping[str, str]:
    """Return the custom parameters of the stream's `start` message; {} unless the profile is weightless."""
    if request.profile is None or not request.profile.weightless:
        return {}
    answered = (turn for turn in call.turns if turn.agent.needs_answer)
    # A recording without a transcript has the words of its name: it needs some length.
    return script.format_parameters(
        [TurnScript(corpus.clips[turn.key].transcript or turn.key, turn.reply_tokens) for turn in answered]
    )
