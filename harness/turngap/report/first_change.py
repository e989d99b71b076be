"""What to change first: which setting owns most of the waiting, what it would give at most, and what it costs. Pure.

Parts of an answer that one setting decides are one proposal: a language model's first token and its first clause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from turngap_agent.profile.ownership import NO_SETTING, Owner, find_owners
from turngap_agent.tracing import Activity, Stage

from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.report.wording import STAGE, join_words, ms, percent
from turngap.scoring.savings import saved_without_ms
from turngap.verdict import stats, summary

LEAST_MS = 5.0
"""A change that gives less at the median and at p95 is not proposed."""
MOST = 3
"""So many are named."""
FIXED = NO_SETTING[Stage.FRAMING_IN]
"""No change of an agent shortens these."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of one setting could give."""

    activities: tuple[Activity, ...]
    """What it decides."""
    owner: Owner | None
    """None: it is not known what decides it."""
    exposed_ms: float
    """The median exposed time of their stages together."""
    gap_ms: float
    """The median turn gap, of the same turns."""
    p50_ms: float
    """By how much the median gap would be shorter if they took no time: the most that any change can give."""
    p95_ms: float
    cost: str
    """What a change costs, or that this is not known."""

    @property
    def sentence(self) -> str:
        """The change in one sentence."""
        owner = self.owner
        name = join_words(list(dict.fromkeys(STAGE[activity.stage][0] for activity in self.activities)))
        decided = "what decides it is not known (a mapping can say it)"
        if owner is not None:
            decided = f"`{owner.setting}`" + (f" = {owner.value}" if owner.value else "")
        most = f"the most it can give is {ms(self.p50_ms)} ms at the median and {ms(self.p95_ms)} ms at p95"
        cost = f"; it costs {self.cost}" if self.cost else ""
        return f"{ms(self.exposed_ms)} of {ms(self.gap_ms)} ms are {name}: {decided}; {most}{cost}"


def rank_changes(record: RunRecord, turns: Sequence[TurnRecord]) -> tuple[Change, ...]:
    """Return what to change, the most useful first: by what it gives at the median, then at p95."""
    explained = [turn for turn in summary.valid_turns(turns) if turn.is_good and turn.bars and turn.stages]
    gaps = [turn.turn_gap_ms for turn in explained if turn.turn_gap_ms is not None]
    if not gaps or len(gaps) < len(explained):
        return ()
    p50_ms, p95_ms = (stats.percentile(gaps, q) or 0.0 for q in (0.5, 0.95))
    changes = []
    for owner, activities in _group_by_owner(name_owners(record)):
        saved = [saved_without_ms(turn.bars, activities) for turn in explained]
        rest = [gap - less for gap, less in zip(gaps, saved, strict=True)]
        gained = (p50_ms - (stats.percentile(rest, 0.5) or 0.0), p95_ms - (stats.percentile(rest, 0.95) or 0.0))
        if max(gained) < LEAST_MS:
            continue
        stages = {activity.stage for activity in activities}
        exposed = [
            sum(time.exposed_ms for stage, time in (turn.stages or {}).items() if stage in stages) for turn in explained
        ]
        exposed_ms = stats.percentile(exposed, 0.5) or 0.0
        cost = "; ".join(dict.fromkeys(filter(None, (_cost(record, activity) for activity in activities))))
        changes.append(Change(activities, owner, exposed_ms, p50_ms, *gained, cost))
    return tuple(sorted(changes, key=lambda change: (-change.p50_ms, -change.p95_ms))[:MOST])


def _group_by_owner(owners: Mapping[Activity, Owner]) -> Iterator[tuple[Owner | None, tuple[Activity, ...]]]:
    """Yield the activities that one setting decides; those of which nobody knows it stage by stage."""
    groups: dict[str, list[Activity]] = {}
    for activity in Activity:
        owner = owners.get(activity)
        if owner is None or owner.setting != FIXED:
            groups.setdefault(owner.setting if owner is not None else activity.stage.value, []).append(activity)
    for activities in groups.values():
        yield owners.get(activities[0]), tuple(activities)


def name_owners(record: RunRecord) -> Mapping[Activity, Owner]:
    """Return what decides each activity: by the profile, or by the mapping of another framework's spans."""
    if record.spans is not None:
        governed = record.spans.governed_by
        owners = {
            activity: Owner(governed[activity.stage].setting) for activity in Activity if activity.stage in governed
        }
        return {Activity.FRAMING_IN: Owner(FIXED), **owners}
    return find_owners(record.profile_data) if record.profile_data else {Activity.FRAMING_IN: Owner(FIXED)}


def _cost(record: RunRecord, activity: Activity) -> str:
    """Return what shortening an activity costs, with this run's figure of it; what is not known is said."""
    if record.spans is not None:
        governed = record.spans.governed_by.get(activity.stage)
        text = governed.cost if governed is not None else ""
    else:
        text = _COSTS.get(activity, "")
    figure = {
        Activity.CONFIRMED_END: _cut_offs(record),
        Activity.PROVISIONAL_END: _cut_offs(record) if record.spans is not None else _waste(record),
        Activity.TRANSCRIPTION: f"now {percent(record.wer)}" if record.wer is not None else "",
    }.get(activity, "")
    if not text:
        return ""
    return f"{text} ({figure or 'how much is not known'})"


_COSTS: Mapping[Activity, str] = {
    Activity.CONFIRMED_END: "more cut-offs in pauses",
    Activity.PROVISIONAL_END: "more work that is thrown away when the caller goes on",
    Activity.TRANSCRIPTION: "word errors",
    Activity.FIRST_TOKEN: "quality of replies",
    Activity.FIRST_CLAUSE: "quality of replies",
    Activity.FIRST_AUDIO: "quality of the voice",
}


def _cut_offs(record: RunRecord) -> str:
    rate = record.cut_off_rate
    measured = "" if record.spans is not None else "; docs/endpointing.md has them by setting"
    return f"now {rate.events} of {rate.n} turns{measured}" if rate.n else ""


def _waste(record: RunRecord) -> str:
    wasted = record.conversation.wasted if record.conversation is not None else None
    return f"now {percent(wasted.share, 0)}" if wasted is not None and wasted.share is not None else ""
