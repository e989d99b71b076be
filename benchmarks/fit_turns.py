"""Fits the turn model of words and melody, and the lengths of pauses, on corpora of turns; writes them as one file.

The corpora must not be those that it is judged on, nor their speakers. The figure beside the weights is that of
speakers left out in turn: the model that judges a speaker has seen nothing of that speaker.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from turngap_agent import profile
from turngap_agent.endpointing.smart_turn.settings import SmartTurnSettings
from turngap_agent.endpointing.words_and_melody.features import Features, FittedModel, load_model, read_features
from turngap_agent.errors import UsageError

from benchmarks.promises import make_parser, print_progress, run_main
from benchmarks.turn_taking import fitting
from benchmarks.turn_taking.fitting import LabelledPause
from benchmarks.turn_taking.hearing import Costs, Hearing
from benchmarks.turn_taking.operating_points import SCORED_AT_MS
from benchmarks.turn_taking.tracks import PER_MS, READ_TO_FIT, Track, load_tracks

BY_HAND = ("open_word", "dictated", "short_answer")
"""Coefficients that stay as they are: of small corpora few have a pause after "the", or the agent's questions."""


def main() -> int:
    """Fit, print, write."""
    parser = make_parser(__doc__)
    parser.add_argument("corpora", nargs="+", metavar="CORPUS", help=f"names, paths, or {READ_TO_FIT}")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--prompts", type=int, default=100, help=f"prompts of {READ_TO_FIT} (default 100)")
    options = parser.parse_args()
    tracks = [track for corpus in options.corpora for track in load_tracks(corpus, options.prompts)]
    tracks = [track for track in tracks if " between" not in track.corpus]  # made pauses are not a speaker's own
    hearing = Hearing(profile.load("cpu"), Costs(0, 0, 0))
    base = load_model()
    try:
        pauses = read_pauses(hearing, tracks, base)
    finally:
        hearing.close()
    ends = sum(pause.length_ms is None for pause in pauses)
    if not 0 < ends < len(pauses):
        raise UsageError(f"{', '.join(options.corpora)}: {len(pauses)} pauses, {ends} of them ends: a fit needs both")
    lengths = fitting.fit_lengths([(one.speaker, one.length_ms) for one in pauses if one.length_ms is not None])
    words, heard = (fitting.fit_weights(pauses, columns, base.words) for columns in (fitting.WORDS, fitting.BOTH))
    areas = [fitting.area_by_speaker(pauses, columns, base.words) for columns in (fitting.WORDS, fitting.BOTH)]
    model = base.model_copy(
        update={
            "fitted_on": (
                f"{', '.join(options.corpora)}: {ends} ends and {len(pauses) - ends} pauses of "
                f"{len({one.speaker for one in pauses})} speakers, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; "
                f"area under the curve with speakers left out in turn {areas[0]:.2f}, with the melody {areas[1]:.2f}"
            ),
            "set_by_hand": BY_HAND,
            "words": words,
            "words_and_melody": heard,
        }
    )
    write(options.out, model)
    print_progress(model.fitted_on)
    print_progress(f"endpointing.pauses: {lengths.model_dump()}")
    return 0


def read_pauses(hearing: Hearing, tracks: Sequence[Track], model: FittedModel) -> list[LabelledPause]:
    """Return the pauses of `SCORED_AT_MS` and more and the true ends of the tracks, with their features."""
    smart_turn = SmartTurnSettings()
    pauses = []
    for track in tracks:
        for turn in track.turns:
            held = [(start, (end - start) / PER_MS) for start, end in turn.pauses]
            places: list[tuple[int, float | None]] = [one for one in held if one[1] >= SCORED_AT_MS]
            if turn.over:
                places.append((turn.speech[1], None))
            for start, length_ms in places:
                at = start + SCORED_AT_MS * PER_MS
                heard = track.pcm[max(0, turn.speech[0] - 256 * PER_MS) : at]
                pause = hearing.read(heard, turn.question)
                if not pause.words:
                    continue
                melody = hearing.score(smart_turn, track, turn, at)
                features: Features = read_features(pause, model, melody)
                pauses.append(LabelledPause(track.speaker, length_ms, features))
        print_progress(f"{track.name}: {len(pauses)} pauses so far")
    return pauses


def write(path: Path, model: FittedModel) -> None:
    """Write the file of coefficients."""
    data = model.model_dump(mode="json")
    for key in ("open_words", "dictated_words", "yes_no_answers"):
        data[key] = sorted(data[key])
    path.write_text(yaml.safe_dump(data, sort_keys=False, width=118), "utf-8")


if __name__ == "__main__":
    sys.exit(run_main(main))
