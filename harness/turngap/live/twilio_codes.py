"""Twilio's error and warning codes in words: what is wrong, what to do. Source: its "Error and Warning Dictionary"."""

from __future__ import annotations

STREAM: dict[int, str] = {
    31901: "no connection to the stream's URL in time: is the public URL still forwarded to this machine?",
    31902: "the stream's URL refused the connection: is the public URL still forwarded to this machine?",
    31903: "the stream's connection broke",
    31920: "the stream's upgrade was not answered with 101: does the tunnel pass WebSockets?",
    31921: "our server closed the stream",
    31923: "the stream's URL is malformed",
    31924: "WebSocket protocol error",
    31930: "our server was too slow and audio was dropped",
    31931: "more than 10 minutes of audio were buffered, and discarded",
    31950: "a binary frame; Twilio takes text frames only",
    31951: "an invalid message, or one for another stream",
}
WARNINGS = frozenset({31930, 31931, 31950, 31951})

REST: dict[int, str] = {
    20003: "the credentials were refused: check TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET",
    20404: "there is no such thing in this account",
    20429: "too many requests: wait a while",
    21205: "the URL is malformed",
    21210: "the number to call from is none of this account's",
    21211: "the number to be called is no valid telephone number",
    21212: "the number to call from is no valid telephone number",
    21215: "calls to that country are not permitted: see the account's geographic permissions",
    21219: "a trial account calls verified numbers only: verify it in the console, or upgrade the account",
    21216: "the account may not call that number",
}


def explain(code: int | None) -> str:
    """The code in words, "" for one that is not listed."""
    if code is None:
        return ""
    return STREAM.get(code) or REST.get(code, "")
