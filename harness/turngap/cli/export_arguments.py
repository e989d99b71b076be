"""The command line of `turngap export`; what converts is imported only when the command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from turngap_agent.errors import UsageError, write_error

from turngap.cli.option_texts import RUN


def export(
    run: Annotated[str, typer.Argument(help=RUN)],
    format_: Annotated[
        str, typer.Option("--format", help="csv, parquet: the turns; perfetto: the traces; junit, markdown: for CI.")
    ],
    out: Annotated[Path | None, typer.Option(help="The file to write. [default: stdout]")] = None,
) -> None:
    """Convert a run for other tools: its turns as CSV or Parquet, a Perfetto trace, JUnit XML, a page of Markdown."""
    from turngap import api
    from turngap import export as exports

    content = exports.export_bytes(api.find_run(run), format_)
    if out is None:
        if format_ == "parquet" and sys.stdout.isatty():
            raise UsageError("--format parquet: no text for a terminal; add --out FILE")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise write_error(f"{out}: cannot be written", error) from None
