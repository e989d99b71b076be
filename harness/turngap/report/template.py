"""What the pages of runs and sweeps share: templates, style sheet, embedded JSON, and how a page is written."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from turngap_agent import files
from turngap_agent.errors import write_error

from turngap.report import wording

HERE = Path(__file__).parent


def write_page(out: Path, text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        UsageError: `out` cannot be written.
        HarnessError: the disk is full.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(out, text)
    except OSError as error:
        raise write_error(f"{out}: the report cannot be written", error) from None


def template_environment(package: str) -> Environment:
    """Return the environment for the templates of `harness/turngap/<package>/`, with filters for numbers and units."""
    templates = Environment(
        loader=PackageLoader("turngap", package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "ms": wording.ms,
        "percent": wording.percent,
        "between": wording.interval_text,
        "signed": wording.signed_ms,
        "together": wording.keep_units_together,
        "code": mark_code,
    }
    return templates


def mark_code(text: str) -> Markup:
    """Return text with what stands between back quotes as code; all else is escaped."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def style_sheet() -> Markup:
    """Return the style sheet of every report."""
    return Markup(read_asset("report.css"))  # our own file


def read_asset(name: str) -> str:
    """Return a file of this package that pages contain: the style sheet or the script."""
    return (HERE / name).read_text("utf-8")


def embed_json(data: object) -> Markup:
    """Return JSON that is safe inside a `<script>`: without `<`, `>`, `&`, U+2028 and U+2029."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # nothing is left that could end the script
