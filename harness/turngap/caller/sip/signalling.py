"""SIP signalling of one call, by the library `aiosipua`: the INVITE with its offer, and the BYE of either side.

Each call has a UDP socket of its own. Nothing here is about time: RTP is `line`'s.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from turngap_agent.errors import AgentError, UsageError

from turngap.caller.sip import rtp
from turngap.model.sip_url import SipUrl, parse_sip_url

if TYPE_CHECKING:
    from aiosipua import OutgoingCall, SipRequest, SipResponse

    from turngap.caller.sip.udp import UdpSocket

ANSWER_TIMEOUT_S = 30.0
"""A telephone rings for that long at most."""
PING_TIMEOUT_S = 5.0
BYE_TIMEOUT_S = 1.0
FIRST_RETRY_S = 0.5
"""RFC 3261's T1: over UDP a request is sent again after that time, and then after twice as long each."""
USER, PASSWORD = "TURNGAP_SIP_USER", "TURNGAP_SIP_PASSWORD"
_AGENT_NAME = "turngap"
_HINTS = {
    401: f"set {USER} and {PASSWORD}",
    403: f"are {USER} and {PASSWORD} right?",
    404: "there is no such user there",
    407: f"set {USER} and {PASSWORD}",
    486: "it is busy",
    488: "it takes no G.711",
    503: "it takes no more calls",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent's side answered to our offer."""

    address: tuple[str, int]
    """Where it reads RTP."""
    payload_type: int
    """`rtp.PCMU` or `rtp.PCMA`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Addresses of both ends."""

    target: SipUrl
    own: str
    """This host's, towards the target."""
    address: tuple[str, int]
    """The target's."""


def check_installed() -> None:
    """Check that the library is there.

    Raises:
        UsageError: it is not.
    """
    if importlib.util.find_spec("aiosipua") is None:
        raise UsageError("a sip: URL needs the library aiosipua: pip install 'turngap[sip]'")


async def find_route(url: str) -> Route:
    """Return the addresses of both ends of a call to `url`.

    Raises:
        UsageError: it is no SIP URL.
        AgentError: its host has no IPv4 address, or no network leads there.
    """
    target = parse_sip_url(url)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        address = str(found[0][4][0]), target.port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            return Route(target, str(probe.getsockname()[0]), address)
    except OSError as error:
        raise AgentError(f"{url} cannot be reached: {error.strerror or error}") from None


class Signalling:
    """One call's signalling; `open` first, `close` last."""

    def __init__(self, route: Route, transport: UdpSocket, on_bye: Callable[[], object]) -> None:
        from aiosipua import SipUAC, SipUAS

        self._route, self._transport = route, transport
        self._own = f"{route.own}:{transport.local_addr[1]}"
        self._uac = SipUAC(self._transport)
        self._uas = SipUAS(self._transport, user_agent=_AGENT_NAME, uac=self._uac)
        self._uas.on_bye = lambda *_: on_bye()
        self._uas.on_invite = lambda call: call.reject(486)
        self._call: OutgoingCall | None = None
        self._responses: dict[str, asyncio.Event] = {}
        """By method, set once anything was answered to a request of it."""

    @classmethod
    async def open(cls, route: Route, on_bye: Callable[[], object]) -> Self:
        """Bind a socket; `on_bye` is called when the agent hangs up."""
        from turngap.caller.sip.udp import UdpSocket

        signalling = cls(route, await UdpSocket.bind(route.own), on_bye)
        await signalling._uas.start()
        dispatch = signalling._transport.on_message

        def note(message: SipRequest | SipResponse, address: tuple[str, int]) -> None:
            if hasattr(message, "status_code") and message.cseq is not None:
                signalling._responses.setdefault(message.cseq.method, asyncio.Event()).set()
            if dispatch is not None:
                dispatch(message, address)

        signalling._transport.on_message = note
        return signalling

    async def invite(self, rtp_port: int, parameters: Mapping[str, str]) -> Answer:
        """Call the agent; RTP is to come to `rtp_port`.

        Raises:
            AgentError: it did not answer, refused, or answered with nothing that we can send.
        """
        from aiosipua import SipDigestAuth, parse_sdp

        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        self._call = call = self._uac.send_invite(
            f"sip:{user or _AGENT_NAME}@{self._own}",
            self._route.target.uri,
            self._route.address,
            parse_sdp(write_offer(self._route.own, rtp_port)),
            extra_headers={name: text for name, text in map(_write_header, parameters.items()) if text},
            user_agent=_AGENT_NAME,
            auth=SipDigestAuth(user, password) if user and password else None,
        )
        resending = asyncio.create_task(self._resend(call.invite, "INVITE"))
        try:
            await call.wait_answered(ANSWER_TIMEOUT_S)
        except TimeoutError:
            call.cancel(self._uac)
            raise AgentError(f"{self._route.target.uri} did not answer within {ANSWER_TIMEOUT_S:g} s") from None
        except RuntimeError as error:
            raise AgentError(self._describe_refusal(str(error))) from None
        except BaseException:
            call.cancel(self._uac)
            raise
        finally:
            resending.cancel()
        return self._read_answer(call)

    async def ping(self) -> bool:
        """Return whether anything answers an OPTIONS request."""
        from aiosipua import SipRequest

        own = f"sip:{_AGENT_NAME}@{self._own}"
        request = SipRequest(method="OPTIONS", uri=self._route.target.uri)
        branch = f"z9hG4bK{os.urandom(8).hex()}"
        for name, value in (
            ("Via", f"SIP/2.0/UDP {self._own};branch={branch};rport"),
            ("Max-Forwards", "70"),
            ("From", f"<{own}>;tag={os.urandom(4).hex()}"),
            ("To", f"<{self._route.target.uri}>"),
            ("Call-ID", f"{os.urandom(8).hex()}@{self._route.own}"),
            ("CSeq", "1 OPTIONS"),
            ("Contact", f"<{own}>"),
        ):
            request.headers.set_single(name, value)
        self._transport.send(request, self._route.address)
        return await self._wait_for(request, PING_TIMEOUT_S)

    async def hang_up(self) -> None:
        """End the call, and wait for the agent to confirm it, a second at most."""
        bye = None if self._call is None else self._call.hangup(self._uac)
        if bye is not None:
            await self._wait_for(bye, BYE_TIMEOUT_S)

    async def close(self) -> None:
        """Close the socket."""
        await self._uas.stop()

    async def _wait_for(self, request: SipRequest, timeout_s: float) -> bool:
        """Return whether a request that was sent is answered in time; it is sent again meanwhile."""
        event = self._responses.setdefault(request.method, asyncio.Event())
        resending = asyncio.create_task(self._resend(request, request.method))
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            resending.cancel()
        return True

    async def _resend(self, request: SipRequest, method: str) -> None:
        wait_s, event = FIRST_RETRY_S, self._responses.setdefault(method, asyncio.Event())
        while True:
            await asyncio.sleep(wait_s)
            if event.is_set():
                return
            self._transport.send(request, self._route.address)
            wait_s *= 2

    def _describe_refusal(self, text: str) -> str:
        found = re.search(r"\b([3-6]\d\d)\b\s*(.*)", text)
        if found is None:
            return f"{self._route.target.uri} refused the call: {text}"
        hint = _HINTS.get(int(found[1]), "")
        return f"{self._route.target.uri} refused the call: {found[1]} {found[2]}{f'; {hint}' if hint else ''}"

    def _read_answer(self, call: OutgoingCall) -> Answer:
        audio = None if call.sdp_answer is None else call.sdp_answer.audio
        address = None if call.sdp_answer is None else call.sdp_answer.rtp_address
        types = [int(name) for name in audio.formats if name.isdigit()] if audio is not None else []
        chosen = next((each for each in types if each in rtp.AUDIO), None)
        if address is None or chosen is None or not address[1]:
            call.hangup(self._uac)
            raise AgentError(f"{self._route.target.uri} answered without G.711 audio; let it take PCMU or PCMA")
        return Answer((str(address[0]), int(address[1])), chosen)


async def check_answers(url: str) -> None:
    """Return if anything at `url` answers SIP, whatever it says.

    Raises:
        AgentError: nothing does.
    """
    signalling = await Signalling.open(await find_route(url), lambda: None)
    try:
        answered = await signalling.ping()
    finally:
        await signalling.close()
    if not answered:
        raise AgentError(
            f"{url} does not answer SIP over UDP within {PING_TIMEOUT_S:g} s; is the agent running, and its port right?"
        )


def write_offer(own: str, rtp_port: int) -> str:
    """Return our offer (RFC 4566): both kinds of G.711, 20 ms in a packet, and telephone events."""
    lines = (
        "v=0",
        f"o=- {rtp_port} 1 IN IP4 {own}",
        f"s={_AGENT_NAME}",
        f"c=IN IP4 {own}",
        "t=0 0",
        f"m=audio {rtp_port} RTP/AVP {rtp.PCMU} {rtp.PCMA} {rtp.KEYS}",
        f"a=rtpmap:{rtp.PCMU} PCMU/8000",
        f"a=rtpmap:{rtp.PCMA} PCMA/8000",
        f"a=rtpmap:{rtp.KEYS} telephone-event/8000",
        f"a=fmtp:{rtp.KEYS} 0-15",
        "a=ptime:20",
        "a=sendrecv",
    )
    return "".join(f"{line}\r\n" for line in lines)


def _write_header(parameter: tuple[str, str]) -> tuple[str, str]:
    """Return a parameter as a header that can be sent: one line, a token as its name."""
    name, text = parameter
    return f"X-{re.sub(r'[^A-Za-z0-9-]+', '-', name)}", " ".join(text.split())
