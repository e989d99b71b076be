"""Placement of labels in a chart, off lines and dots, by an estimate of their size in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_PX = 6.4
"""Mean width of a character at 12 px, in the fonts that a page may have; bold ones are a little wider."""
BOLD = 1.08
LINE_PX = 15


def width_px(words: str, *, bold: bool = False) -> float:
    """Return about how wide the longest line of these words is, in pixels."""
    return max(len(line) for line in words.split("\n")) * CHARACTER_PX * (BOLD if bold else 1.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Axes in pixels: data x from `left` to `right` over `width_px`, data y from 0 to `top` over `height_px`."""

    left: float
    right: float
    width_px: float
    top: float
    height_px: float

    def units(self, px: float) -> float:
        """Return pixels along x in data units."""
        return px * (self.right - self.left) / self.width_px

    def rows(self, px: float) -> float:
        """Return pixels along y in data units."""
        return px * self.top / self.height_px


def place_clear_of(start: float, wide: float, line: float, gap: float) -> float:
    """Return `start`, or a position just behind the line if words of that width from `start` on cross it."""
    return line + gap if start - gap <= line <= start + wide + gap else start


def better_side(
    at: float,
    words: str,
    y: float,
    scale: Scale,
    dots: Sequence[tuple[float, float]],
    lines: Sequence[float],
) -> str:
    """Return "left" or "right" of `at`: where words whose lowest line is at y fit and cover fewer dots and lines."""
    wide = scale.units(width_px(words) + 8)
    high = y + scale.rows(LINE_PX * len(words.split("\n")) + 4)

    def cost(first: float, last: float) -> float:
        covered = sum(first <= x <= last and y <= row <= high for x, row in dots)
        crossed = sum(first <= line <= last for line in lines)
        return covered + 5 * crossed + (1000 if first < scale.left or last > scale.right else 0)

    return "left" if cost(at - wide, at) <= cost(at, at + wide) else "right"
