"""What the callers of a chaos run say, and when: the faulty call, its neighbour, and the next one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.profile import Profile
from turngap_agent.telephony import SAMPLE_RATE, script
from turngap_agent.telephony.faults import Moment
from turngap_agent.telephony.script import TurnScript

from turngap.calibration.voice import make_voice
from turngap.corpus import clips as corpus
from turngap.model.records import Clip
from turngap.scenario import Expectation, PlannedCall, Turn
from turngap.session.run_documents import DEFAULT_SCENARIO, load_scenario

N_UTTERANCES = 6
SPEECH_S = 0.9
"""Of the synthetic voice: longer than what passes for a backchannel."""
ANSWER_WITHIN_MS = 9000
"""The caller waits for longer than anybody should, so that the silence is heard whole."""
OVER_AGENT_MS = 500
NEIGHBOUR_TURNS = 40
"""More than a faulty call lasts; the neighbour hangs up when that has ended."""


@dataclass(frozen=True, slots=True)
class Callers:
    """The utterances, and what an agent with random weights is told about each turn."""

    clips: tuple[Clip, ...]
    weightless: bool = False

    def plan(self, index: int, moment: Moment | None, turns: int = 2) -> tuple[PlannedCall, Mapping[str, Clip]]:
        """Return a call of so many turns and its clips; with `BARGE_IN` the second turn speaks over the first reply.

        A call of one turn is hung up once the answer has begun.
        """
        order = random.Random(index).sample(self.clips, len(self.clips))
        keys = [f"chaos-{index}-{turn}" for turn in range(turns)]
        planned = []
        for number, key in enumerate(keys):
            barges_in = moment is Moment.BARGE_IN and number == 1
            planned.append(
                Turn(
                    id=key,
                    say="one of the utterances",
                    pause_ms=300,
                    answer_within_ms=ANSWER_WITHIN_MS,
                    over_agent_ms=OVER_AGENT_MS if barges_in else None,
                    agent=Expectation.STOP if barges_in else Expectation.RESPOND,
                )
            )
        clips = {key: order[number % len(order)] for number, key in enumerate(keys)}
        return PlannedCall(index, tuple(planned), probe=turns == 1), clips

    def parameters(self, turns: int) -> dict[str, str]:
        """Return the custom parameters that an agent with random weights needs; {} for others."""
        if not self.weightless:
            return {}
        return script.format_parameters([TurnScript("Is there a room for tonight?", 14)] * turns)


def make_callers(profile: Profile, seed: int, show_message: Callable[[str], None]) -> Callers:
    """Return utterances that the profile's agent can understand: recorded ones, or for scripted engines any voice.

    Raises:
        TurngapError: recorded ones cannot be had.
    """
    if profile.stt.engine == "scripted" or profile.weightless:
        return Callers(make_voices(range(seed * N_UTTERANCES, (seed + 1) * N_UTTERANCES)), profile.weightless)
    scenario = load_scenario(DEFAULT_SCENARIO)
    turns = [turn for turn in scenario.turns if turn.stratum == "sentence"]
    chosen = tuple(random.Random(seed).sample(turns, N_UTTERANCES))
    made = corpus.build_corpus(scenario.model_copy(update={"turns": chosen}), show_message)
    return Callers(tuple(made.clips.values()))


def make_voices(seeds: Sequence[int]) -> tuple[Clip, ...]:
    """Return utterances of the synthetic voice, which end with their last sample."""
    samples = round(SPEECH_S * SAMPLE_RATE)
    return tuple(
        Clip(f"voice-{seed}", make_voice(samples, seed, -20.0), 0, None, 0.0, 0.0, "made up: a voice", synthetic=True)
        for seed in seeds
    )
