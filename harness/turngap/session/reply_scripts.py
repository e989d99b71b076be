"""What the agent is told of a call where its weights are random: every turn's words, and how long its reply is.

So the work of a turn is the same in every run and on every machine. Other agents are told nothing: they are to listen.
"""

from __future__ import annotations

from collections.abc import Mapping

from turngap_agent.telephony import script
from turngap_agent.telephony.script import TurnScript

from turngap.corpus.clips import Corpus
from turngap.scenario import Expectation, PlannedCall
from turngap.session.plan import Request

NOTE = (
    "the work of each turn is fixed by the scenario: the transcription decodes its reference's tokens and two more, "
    "the reply has `reply_tokens`"
)


def custom_parameters(request: Request, call: PlannedCall, corpus: Corpus) -> Mapping[str, str]:
    """For the stream's `start`; {} unless the profile is weightless."""
    if request.profile is None or not request.profile.weightless:
        return {}
    # A recording of which no words are known has those of its name: some length it must have.
    answered = (turn for turn in call.turns if turn.agent in (Expectation.RESPOND, Expectation.STOP))
    return script.parameters(
        [TurnScript(corpus.clips[turn.key].transcript or turn.key, turn.reply_tokens) for turn in answered]
    )
