"""What `turngap label` prints: a recording's labels in words and as JSON, and a table of them against those by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from turngap.caller.onset import DBM0_OVER_DBFS, format_level
from turngap.corpus.floor_label import TAIL_MS, FloorLabel
from turngap.corpus.label_opinions import DISAGREEMENT_MS, LabelOpinions
from turngap.corpus.labels import MAX_MOVE_MS
from turngap.model.records import LabelSource

WITHIN_MS = 60.0
"""A label counts as right if it is this near to the one by hand."""


def describe(opinions: LabelOpinions) -> list[str]:
    """Return the lines about one recording."""
    check, label = opinions.check, opinions.check.label
    start_ms, end_ms = opinions.span_ms
    low_ms, high_ms = opinions.moves_ms
    if opinions.source is LabelSource.THRESHOLD:
        how = f"over {format_level(check.threshold_dbfs)}"
        shift = f"{label.low_ms:+.1f} / {label.high_ms:+.1f} ms"
        moves = f"moves by {shift} with thresholds at -5 / +5 dB (limit {MAX_MOVE_MS:.0f})"
    elif opinions.source is LabelSource.FLOOR:
        how, moves = "relative to the noise floor", f"may lie {low_ms:+.0f} / {high_ms:+.0f} ms from there"
    else:
        how = f"by hand, in {opinions.hand.origin if opinions.hand else ''}"
        moves = f"is uncertain by {low_ms:+.0f} / {high_ms:+.0f} ms"
    lines = [
        f"{check.path}: {check.duration_ms:.0f} ms",
        f"  speech     {start_ms:.1f} to {end_ms:.1f} ms, {how}",
        f"  level      {format_level(check.level_dbfs)} as spoken, over the frames that are speech",
        f"  end        {moves}",
    ]
    for pause_start, pause_end in opinions.pauses_ms:
        length = pause_end - pause_start
        lines.append(f"  pause      {pause_start:.0f} to {pause_end:.0f} ms: {length:.0f} ms inside the speech")
    if opinions.floor is not None and (opinions.source is not LabelSource.THRESHOLD or not opinions.is_usable):
        lines.append(f"  floor      {_describe_floor(opinions.floor, opinions.floor_doubts)}")
    if opinions.words_end_ms is not None:
        text = " ".join(word.text for word in opinions.words[-4:])
        apart = opinions.words_end_ms - end_ms
        lines.append(
            f'  words      the last one of "… {text}" ends at {opinions.words_end_ms:.0f} ms, {apart:+.0f} ms away'
        )
    elif opinions.trouble:
        lines.append(f"  words      none heard: {opinions.trouble}")
    if opinions.source is LabelSource.THRESHOLD:
        lines += [f"  problem    {remark}" for remark in check.remarks]
    elif opinions.source is LabelSource.FLOOR and opinions.floor is not None:
        lines += [f"  problem    not sure: {doubt}" for doubt in opinions.floor.doubts]
    if opinions.is_usable:
        lines.append("  usable     look at --plot and listen to --listen before you rely on it")
    return lines + _describe_decision(opinions)


def _describe_decision(opinions: LabelOpinions) -> list[str]:
    """Return what to write into the turn, where labels disagree or none is sure."""
    if opinions.source is LabelSource.HAND:
        return []
    apart = opinions.disagreement_ms
    if apart is None and opinions.is_usable:
        return []
    start_ms, end_ms = opinions.span_ms
    why = (
        "no label is sure"
        if apart is None
        else f"label and words differ by {abs(apart):.0f} ms, over {DISAGREEMENT_MS:.0f}"
    )
    lines = [f"  decide     {why}: look, listen, and write what you hear into the turn, such as"]
    choices = [(end_ms, "by level" if opinions.source is LabelSource.THRESHOLD else "by the floor")]
    floor = opinions.floor
    if opinions.source is LabelSource.THRESHOLD and floor is not None and not opinions.is_usable:
        choices.append((floor.end_ms, "by the floor"))
    if opinions.words_end_ms is not None and apart is not None:
        choices.append((opinions.words_end_ms, "by the words"))
    lines += [f"               speech_ms: [{start_ms:.0f}, {end:.0f}]  # {how}" for end, how in choices]
    return lines


def _describe_floor(floor: FloorLabel, doubts: Sequence[str]) -> str:
    sure = f"not sure: {'; '.join(doubts)}" if doubts else "sure"
    return (
        f"relative to it {floor.start_ms:.0f} to {floor.end_ms:.0f} ms, {floor.contrast_db:.0f} dB of contrast; {sure}"
    )


def to_json(opinions: LabelOpinions) -> dict[str, object]:
    """Return the same for a script."""
    check, floor = opinions.check, opinions.floor
    start_ms, end_ms = opinions.span_ms
    low_ms, high_ms = opinions.moves_ms
    by_threshold = opinions.source is LabelSource.THRESHOLD
    return {
        "file": str(check.path),
        "duration_ms": check.duration_ms,
        "source": opinions.source,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "low_ms": low_ms,
        "high_ms": high_ms,
        "firm": check.label.is_firm,
        "threshold_dbfs": round(check.threshold_dbfs, 1),
        "threshold_dbm0": round(check.threshold_dbfs + DBM0_OVER_DBFS, 1),
        "level_dbfs": round(check.level_dbfs, 1),
        "level_dbm0": round(check.level_dbfs + DBM0_OVER_DBFS, 1),
        "pauses_ms": [list(pause) for pause in opinions.pauses_ms],
        "usable": opinions.is_usable,
        "remarks": list(check.remarks) if by_threshold else [],
        "floor": None
        if floor is None
        else {
            "start_ms": floor.start_ms,
            "end_ms": floor.end_ms,
            "low_ms": floor.low_ms,
            "high_ms": floor.high_ms,
            "contrast_db": round(floor.contrast_db, 1),
            "sure": not opinions.floor_doubts,
            "doubts": list(opinions.floor_doubts),
        },
        "hand": None if opinions.hand is None else {"start_ms": opinions.hand.start_ms, "end_ms": opinions.hand.end_ms},
        "words_end_ms": opinions.words_end_ms,
        "disagreement_ms": opinions.disagreement_ms,
    }


def tabulate_against_hand(everything: Sequence[LabelOpinions]) -> list[str]:
    """Return a table of each recording's labels less the one by hand, ms, with a line that sums it up.

    Recordings without a label by hand are left out. The sum is of those with 100 ms or more after the speech.
    """
    rows = [(each, each.hand) for each in everything if each.hand is not None]
    width = max((len(each.check.path.name) for each, _ in rows), default=4)
    lines = [f"{'file':<{width}}  after, ms  by hand, ms  floor  words  the floor's label is"]
    errors, sure = [], []
    short = unsure_short = 0
    for each, hand in rows:
        after_ms = each.check.duration_ms - hand.end_ms
        error = None if each.floor is None else each.floor.end_ms - hand.end_ms
        words = None if each.words_end_ms is None else each.words_end_ms - hand.end_ms
        is_sure = not each.floor_doubts
        state = "sure" if is_sure else f"not sure: {each.floor_doubts[0]}"
        numbers = "  ".join("    –" if value is None else f"{value:+5.0f}" for value in (error, words))
        lines.append(
            f"{each.check.path.name:<{width}}  {max(0.0, after_ms):9.0f}  {hand.end_ms:11.0f}  {numbers}  {state}"
        )
        if after_ms < TAIL_MS:
            short, unsure_short = short + 1, unsure_short + (not is_sure)
        else:
            errors.append(np.inf if error is None else abs(error))
            sure.append(is_sure)
    right = np.asarray(errors) <= WITHIN_MS
    of_sure = int((right & np.asarray(sure, bool)).sum()) if errors else 0
    lines.append(
        f"with {TAIL_MS:.0f} ms and more after the speech: {int(right.sum())} of {len(errors)} within {WITHIN_MS:.0f} "
        f"ms; {sum(sure)} sure, {of_sure} of them within; with less: {unsure_short} of {short} not sure"
    )
    return lines
