"""A mapping file: what the OpenTelemetry spans of another framework's agent mean, and which settings own the time.

A moment is a span's start or end, plus or minus an attribute of that span, plus a constant; or one of two times that
the instrument knows itself. A stage lasts from one moment to another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.tracing import Stage

MAPPABLE = (
    Stage.TRANSCRIPTION,
    Stage.FIRST_TOKEN,
    Stage.FIRST_CLAUSE,
    Stage.FIRST_AUDIO,
    Stage.ENCODING,
)
"""The stages that a mapping can place, in the order of the path; endpointing has a section of its own."""
SpanName = Annotated[str, Field(min_length=1)]


class Moment(FrozenModel):
    """A time in an agent's spans, or one of the instrument's own."""

    span: SpanName | None = None
    at: Literal["start", "end"] = "start"
    add: str | None = None
    """An attribute of the span that is added to the time."""
    subtract: str | None = None
    """An attribute of the span that is subtracted."""
    unit: Literal["s", "ms", "ns"] = "s"
    """The unit of that attribute."""
    offset_ms: float = Field(0.0, ge=-10_000, le=10_000, allow_inf_nan=False)
    """A constant that is added, such as a setting that the agent does not report."""
    instrument: Literal["received"] | None = None
    """`received`: when the caller's side received the message with the reply's first sound."""

    @model_validator(mode="after")
    def _check_one_kind(self) -> Moment:
        if (self.span is None) == (self.instrument is None):
            raise ValueError("a moment has either `span` or `instrument`")
        if self.instrument is not None and (self.add or self.subtract or self.offset_ms or self.at != "start"):
            raise ValueError("`instrument` is a time by itself: `at`, `add`, `subtract`, `offset_ms` belong to a span")
        return self


class MappedStage(FrozenModel):
    """Where a stage begins and ends."""

    begins: Moment
    ends: Moment


class MappedEndpointing(FrozenModel):
    """How the end of the caller's turn shows in the spans."""

    provisional: Moment | None = None
    """When work was allowed to start, such as the voice detector's end of speech."""
    confirmed: Moment | None = None
    """When the end of the turn was decided, such as the start of the language model's request."""
    released_within_ms: float = Field(0.0, ge=0, le=1000)
    """A `confirmed` end so soon after the end of the transcription waited for the transcript, not for the decision:
    then only `provisional` is endpointing's."""


class CallIdentity(FrozenModel):
    """How the spans of a call are recognised."""

    span: SpanName
    """The span that lasts as long as the call: once it has arrived, the call's spans are complete."""
    attribute: str | None = None
    """An attribute with the call's id (`callSid`), of any span of the call's trace or of its resource. None, or no span
    with it: spans belong to the call in which they lie, and only one call at a time may be placed."""


class Attribute(FrozenModel):
    """An attribute of a span."""

    span: SpanName
    attribute: str


class Ownership(FrozenModel):
    """The setting that governs a stage's time."""

    setting: str = Field(min_length=1)
    """Component and setting, such as `VADParams.stop_secs`."""
    cost: str = ""
    """What a change costs, in a few words; "" where that is not known."""


class SpanMapping(FrozenModel):
    """A mapping file."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=documents.NAME)
    description: str = ""
    tried_with: str = ""
    """The release that it was tried with, such as `pipecat-ai 1.14.0`."""
    call: CallIdentity
    endpointing: MappedEndpointing = MappedEndpointing()
    stages: dict[Stage, MappedStage]
    transcript: Attribute | None = None
    """The caller's words."""
    reply: Attribute | None = None
    """The reply's text."""
    governed_by: dict[Stage, Ownership] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_stages(self) -> SpanMapping:
        for stage in self.stages:
            if stage not in MAPPABLE:
                raise documents.located_error(
                    f"stage `{stage}` can't be mapped; those that can are: {', '.join(MAPPABLE)}", ("stages", stage)
                )
        if not self.stages and self.endpointing == MappedEndpointing():
            raise documents.located_error("no stage is mapped", ("stages",))
        return self

    def moments(self) -> Iterator[Moment]:
        """Yield every moment, the last of the path first."""
        for stage in reversed(MAPPABLE):
            if stage in self.stages:
                yield self.stages[stage].ends
                yield self.stages[stage].begins
        yield from (moment for moment in (self.endpointing.confirmed, self.endpointing.provisional) if moment)

    @property
    def span_names(self) -> tuple[str, ...]:
        """The spans that stages are made of, each once, in the reverse order of the path."""
        return tuple(dict.fromkeys(moment.span for moment in self.moments() if moment.span is not None))

    @property
    def used_names(self) -> frozenset[str]:
        """All spans that it reads."""
        texts = (self.transcript, self.reply)
        return frozenset((*self.span_names, self.call.span, *(text.span for text in texts if text is not None)))
