"""Masks telephone numbers, SIDs and secrets in every text that leaves the process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "•••"
_SID = re.compile(r"\b([A-Z]{2})[0-9a-fA-F]{32}\b")
_NUMBER = re.compile(r"(?:\+|%2[Bb])[\s().-]*[1-9](?:[\s().-]*\d){6,14}")
_BASIC = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=_-]{8,}")


class Masker:
    """Hides the given secrets and numbers, and everything that looks like an E.164 number, a SID or credentials."""

    def __init__(self, secrets: Iterable[str] = (), numbers: Iterable[str] = ()) -> None:
        digits = [mask_number.lstrip("+") for mask_number in numbers]
        self._secrets = sorted({text for text in (*secrets, *digits) if len(text) >= 6}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text with everything secret replaced; a number keeps its last two digits."""
        text = _NUMBER.sub(lambda match: f"+…{re.sub(r'[^0-9]', '', match[0])[-2:]}", text)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _BASIC.sub(rf"\1 {HIDDEN}", _SID.sub(r"\1…", text))

    def data(self, value: Any) -> Any:
        """Return JSON data with every text masked, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.data(item) for item in value)
        return value


def mask_number(text: str) -> str:
    """Return a telephone number as it may be shown: its last two digits."""
    return f"+…{text[-2:]}"
