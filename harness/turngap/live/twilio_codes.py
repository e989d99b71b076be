"""What Twilio's error and warning codes mean, and what to do. Source: its "Error and Warning Dictionary"."""

from __future__ import annotations

STREAM: dict[int, str] = {
    31901: "the stream's URL did not answer in time: is the public URL still forwarded to this machine?",
    31902: "the stream's URL refused the connection: is the public URL still forwarded to this machine?",
    31903: "the stream's connection broke",
    31920: "the WebSocket upgrade was not answered with HTTP 101: does the tunnel forward WebSockets?",
    31921: "our server closed the stream",
    31923: "the stream's URL is malformed",
    31924: "WebSocket protocol error",
    31930: "our server was too slow and audio was dropped",
    31931: "more than 10 minutes of audio were buffered, and discarded",
    31950: "a binary frame; Twilio accepts text frames only",
    31951: "an invalid message, or one for another stream",
}

REST: dict[int, str] = {
    20003: "the credentials were refused: check TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET",
    20404: "the account has no such resource",
    20429: "too many requests: wait and try again",
    21205: "the URL is malformed",
    21210: "the number to call from does not belong to this account",
    21211: "the number to call is not a valid telephone number",
    21212: "the number to call from is not a valid telephone number",
    21215: "calls to that country are not permitted: see the account's geographic permissions",
    21216: "the account may not call that number",
    21219: "a trial account can call verified numbers only: verify the number in the console, or upgrade the account",
}


def explain_code(code: int | None) -> str:
    """Return what a code means; "" for an unknown code."""
    if code is None:
        return ""
    return STREAM.get(code) or REST.get(code, "")


def parse_code(text: str) -> int | None:
    """Return the five-digit code that a text begins with; None without one."""
    digits = text.strip()[:5]
    return int(digits) if digits.isdigit() else None
