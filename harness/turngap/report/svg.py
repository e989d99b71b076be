"""matplotlib figures as small inline SVG: colours become CSS variables, ids are removed, text stays text.

Coordinates are CSS pixels. Every chart is drawn twice, wide and narrow, so that its text keeps its size on a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

ROLES = (
    *("ink", "muted", "grid", "paper", "accent", "bad", "over", "budget"),
    *("network", "endpointing", "stt", "llm", "tts", "conversion", "unexplained"),
)
_HEX = {role: f"#0101{index + 1:02x}" for index, role in enumerate(ROLES)}
_ROLE = {value: role for role, value in _HEX.items()}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "turngap",
    "font.size": 12,
    "path.simplify": False,
    "axes.unicode_minus": False,
    "text.parse_math": False,
}

DrawFunction = Callable[["Canvas"], None]


def css_colour(role: str) -> str:
    """Return the placeholder for a CSS variable of that name while matplotlib draws."""
    return _HEX[role]


class Canvas:
    """One figure of width x height pixels with one axes, placed by its margins in pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.narrow = width < 480
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(self.figure)
        self.figure.patch.set_visible(False)
        self.links = Markup("")

    def link(self, ax: Axes, point: tuple[float, float], address: str, label: str) -> None:
        """Make the place of `point`, in the data's units, a link that a finger can hit, named by `label`."""
        x, y = ax.transData.transform(point)
        self.links += Markup(
            '<a href="{}" aria-label="{}"><title>{}</title>'
            '<circle cx="{:.1f}" cy="{:.1f}" r="9" fill="transparent"/></a>'
        ).format(address, label, label, x, self.height - y)

    def axes(self, left: int, right: int, top: int, bottom: int) -> Axes:
        """Return axes without frame and tick marks: text, grid and data only."""
        ax = self.figure.add_axes(
            (
                left / self.width,
                bottom / self.height,
                (self.width - left - right) / self.width,
                (self.height - top - bottom) / self.height,
            )
        )
        ax.patch.set_visible(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.tick_params(length=0, labelcolor=css_colour("muted"), labelsize=12, pad=6)
        ax.set_axisbelow(True)
        return ax


def annotate(
    ax: Axes,
    words: str,
    at: tuple[float, float],
    offset: tuple[float, float],
    role: str,
    *,
    ha: str = "left",
    weight: str = "normal",
) -> None:
    """Write words at a place of the axes, moved by an offset in points; they may lie outside the axes."""
    ax.annotate(
        words,
        at,
        offset,
        textcoords="offset points",
        annotation_clip=False,
        color=css_colour(role),
        ha=ha,
        va="bottom",
        weight=weight,
    )


def draw_dots(ax: Axes, points: Iterable[tuple[float, float]], role: str, size: float) -> None:
    """Draw round dots as one path of moves with round caps: each takes a tenth of the bytes of a marker."""
    vertices = [vertex for x, y in points for vertex in ((x, y), (x, y))]
    if not vertices:
        return
    codes = [Outline.MOVETO, Outline.LINETO] * (len(vertices) // 2)
    patch = PathPatch(Outline(vertices, codes), facecolor="none", edgecolor=css_colour(role), lw=size, capstyle="round")
    patch.set_clip_on(False)
    ax.add_patch(patch)


def render_chart(
    name: str, title: str, description: str, draw: DrawFunction, wide: tuple[int, int], narrow: tuple[int, int]
) -> Markup:
    """Return both sizes of a chart, each an `<svg role="img">` with title and desc; CSS shows the one that fits.

    `name` makes ids unique in the page.
    """
    parts = []
    for kind, (width, height) in (("wide", wide), ("narrow", narrow)):
        with mpl.rc_context(rc=_STYLE):
            canvas = Canvas(width, height)
            draw(canvas)
            body = _body(canvas.figure) + canvas.links
        key = f"{name}-{kind}"
        role = "group" if canvas.links else "img"  # a picture has no links inside
        parts.append(
            Markup(
                '<svg class="{}" viewBox="0 0 {} {}" role="{}" aria-labelledby="{}-t {}-d">'
                '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
            ).format(kind, width, height, role, key, key, key, title, key, description, body)
        )
    return Markup('<div class="chart">{}{}</div>').format(*parts)


def _body(figure: Figure) -> Markup:
    target = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(target, format="svg", metadata=nothing)
    return Markup(shrink_svg(target.getvalue()))  # matplotlib's own output, its text escaped by it


def shrink_svg(svg: str) -> str:
    """Return the content of matplotlib's `<svg>` without its style sheet, ids, fonts and unneeded digits."""
    svg = svg[svg.index("<g ") : svg.rindex("</svg>")]
    svg = re.sub(r"<defs>.*?</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(?:id|clip-path)="[^"]*"', "", svg)
    svg = re.sub(r"font(?:-family)?: (?:(bold|\d+) )?(?:([\d.]+px) )?'[^;\"]*;?", _font, svg)
    svg = re.sub(r'\s*transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r'(?<=[\s"])(d|x|y)="([^"]*)"', lambda match: f'{match[1]}="{_digits(match[2])}"', svg)
    svg = re.sub(r"#0101[0-9a-f]{2}", lambda match: f"var(--{_ROLE[match[0]]})", svg)
    svg = re.sub(r'style="[^"]*"', lambda match: re.sub(r"([:;]) ", r"\1", match[0]), svg)
    if "<g " not in svg:
        svg = re.sub(r"</?g/?>", "", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]};" if match[1] else ""
    return weight + (f"font-size: {match[2]};" if match[2] else "")


def _digits(path: str) -> str:
    path = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), path)
    path = re.sub(r"\s+", " ", path).strip()
    path = re.sub(r"M (\S+) (\S+) L \1 \2(?= M|$)", r"M\1 \2h0", path)
    return re.sub(r"\s*([MLZz])\s*", r"\1", path)
