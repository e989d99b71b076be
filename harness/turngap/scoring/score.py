"""Scoring of a call: what the caller heard and the agent's spans become one `TurnRecord` per turn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turngap_agent import tracing
from turngap_agent.tracing import Span

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
from turngap.model.records import CallEnd, CallRecord, Clip, Spoken
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import Expectation, PlannedCall
from turngap.scenario.content import make_openings
from turngap.scoring import attempts, breakdown, outcomes, overlap, wer
from turngap.scoring.attempts import CallSpans, HeardAttempt
from turngap.scoring.landing import measure_landing
from turngap.scoring.mapped import MappedCall, OwnSpans, align_own
from turngap.scoring.mapped import find_heard_attempt as find_mapped_attempt
