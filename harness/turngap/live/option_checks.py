"""Checks the options of a smoke run and makes its plan: everything that can be known before dialling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap import network
from turngap.calibration.utterances import make_burst
from turngap.live import call_ledger as ledgers
from turngap.live import credentials, preflight, safety
from turngap.live.fake.settings import FakeBehaviour, FakeSettings, random_credentials
from turngap.live.masking import Masker
from turngap.live.responders import MIN_DELAY_MS
from turngap.live.safety import Cost
from turngap.live.smoke_plan import (
    AGENT_NUMBER,
    CALLER_NUMBER,
    DEFAULT_HOST,
    DEFAULT_PORT,
    DEFAULT_SCENARIO,
    MAX_TURNS,
    REPLY_S,
    UTTERANCE_S,
    SmokeOptions,
    SmokePlan,
    assign_turns,
)
from turngap.network import Direction, NetworkProfile
from turngap.network.telephone import load_telephone_network
from turngap.scenario import PlannedCall, Scenario, Turn
from turngap.session import plan, run_documents
from turngap.session.request import Options, Request


def make_plan(options: SmokeOptions, environment: Mapping[str, str]) -> SmokePlan:
    """Check all options and return the plan; nothing is dialled, fetched or started.

    Raises:
        UsageError: (or a subclass) an option is wrong, missing or not allowed.
    """
    if not 1 <= options.turns <= MAX_TURNS:
        raise UsageError(f"--turns {options.turns}: expected 1 to {MAX_TURNS}")
    if not 1 <= options.calls <= options.turns:
        raise UsageError(f"--calls {options.calls}: expected 1 to the number of turns ({options.turns})")
    calls = options.calls + options.echo
    safety.check_calls(calls)
    if options.fake:
        return _plan_fake(options, calls)
    fake_settings = (options.uplink_ms, options.downlink_ms, options.jitter_ms, options.loss)
    if any(fake_settings) or options.network is not None or options.fake_does != FakeBehaviour.ANSWERED:
        raise UsageError("--uplink-ms, --downlink-ms, --jitter-ms, --loss, --network and --fake-does need --fake")
    caller_leg_only = options.to is not None
    if caller_leg_only and (options.profile or options.overrides or options.echo):
        raise UsageError(
            "--to measures the agent at that number, from the caller's leg only: remove --profile, --set and --echo"
        )
    safety.check_ci(environment, options.in_ci)
    secrets = credentials.read_credentials(environment)
    number_name = "--to" if caller_leg_only else f"{AGENT_NUMBER} (the number whose calls this machine answers)"
    to = safety.parse_number(options.to or environment.get(AGENT_NUMBER), number_name)
    from_ = safety.parse_number(options.from_ or environment.get(CALLER_NUMBER), f"--from (or {CALLER_NUMBER})")
    if to == from_:
        raise UsageError("the number to call is the number to call from: two numbers are needed")
    allowed = safety.read_allow_list(environment, options.allow)
    safety.check_allowed(to, allowed, "the number to call")
    safety.check_allowed(from_, allowed, "the number to call from")
    safety.check_confirmed(to, options.confirm)
    public_url = preflight.parse_public_url(options.public_url)
    profile = None if caller_leg_only else options.profile or run_documents.DEFAULT_PROFILE
    request = _plan_request(options, profile=profile, greeted=caller_leg_only)
    echo = _plan_echo(request) if options.echo else None
    limit_s = safety.time_limit_s(_longest_s(request, echo))
    return SmokePlan(
        request=request,
        echo=echo,
        clips=None,
        to=to,
        from_=from_,
        caller_leg_only=caller_leg_only,
        responder_delay_ms=None,
        record=options.record,
        voicemail_check=caller_leg_only and options.voicemail_check,
        time_limit_s=limit_s,
        cost=safety.check_cost(calls, limit_s, options.price_usd, options.max_usd),
        credentials=secrets,
        public_url=public_url,
        host=options.host,
        port=options.port or DEFAULT_PORT,
        ledger=ledgers.default_path(environment),
        fake=None,
        masker=Masker(secrets.secrets, (to, from_)),
    )


def _plan_fake(options: SmokeOptions, calls: int) -> SmokePlan:
    """Return the plan of a run against a fake: its own numbers and credentials, none from the environment."""
    real_only = {
        "--from": options.from_,
        "--public-url": options.public_url,
        "--host": None if options.host == DEFAULT_HOST else options.host,
    }
    if wrong := [option for option, value in real_only.items() if value is not None]:
        raise UsageError(
            f"{', '.join(wrong)}: only for a real call; remove it, the fake has its own numbers and address"
        )
    try:
        behaviour = FakeBehaviour(options.fake_does)
    except ValueError:
        raise UsageError(
            f"--fake-does: no behaviour {options.fake_does!r}{documents.list_choices(options.fake_does, FakeBehaviour)}"
        ) from None
    if behaviour is FakeBehaviour.VOICEMAIL and options.to is None:
        raise UsageError("--fake-does voicemail: only another number has a voicemail; add --to NUMBER")
    if not MIN_DELAY_MS <= options.agent_ms <= 10_000:
        raise UsageError(f"--agent-ms {options.agent_ms:g}: expected {MIN_DELAY_MS:g} to 10000")
    for name, value, most in (
        ("--uplink-ms", options.uplink_ms, 1000.0),
        ("--downlink-ms", options.downlink_ms, 1000.0),
        ("--jitter-ms", options.jitter_ms, 500.0),
        ("--loss", options.loss, 0.5),
    ):
        if not 0 <= value <= most:
            raise UsageError(f"{name} {value:g}: expected 0 to {most:g}")
    profile = network.load_network(options.network) if options.network is not None else None
    ending: dict[str, float] = {}
    if profile is not None and profile.disconnect_after_s is not None:
        ending["ended_after_s"] = profile.disconnect_after_s
        behaviour = FakeBehaviour.DROPPED if behaviour is FakeBehaviour.ANSWERED else behaviour
    settings = FakeSettings(
        **random_credentials(),
        agent_ms=options.agent_ms,
        behaviour=behaviour,
        seed=options.seed,
        **ending,
        **_directions(options, profile),
    )
    caller_leg_only = options.to is not None
    to = safety.parse_number(options.to, "--to") if options.to is not None else settings.agent_number
    with_speech = options.scenario is not None or options.profile is not None
    if with_speech:
        request, clips = _plan_request(options, profile=options.profile, greeted=False), None
    else:
        request = _plan_bursts(options)
        clips = {turn.key: make_burst(200 + 7 * n % 61, n + 1) for n, turn in enumerate(request.scenario.turns)}
    echo = _plan_echo(request) if options.echo else None
    limit_s = safety.time_limit_s(_longest_s(request, echo))
    return SmokePlan(
        request=request,
        echo=echo,
        clips=clips,
        to=to,
        from_=settings.caller_number,
        caller_leg_only=caller_leg_only,
        responder_delay_ms=None if options.profile is not None or caller_leg_only else options.agent_ms,
        record=options.record,
        voicemail_check=caller_leg_only and options.voicemail_check,
        time_limit_s=limit_s,
        cost=Cost(calls, 1, 0.0),
        credentials=settings.credentials,
        public_url=None,
        host=DEFAULT_HOST,
        port=options.port or 0,
        ledger=None,
        fake=settings,
        masker=Masker(settings.credentials.secrets, (to, settings.caller_number)),
    )


def _directions(options: SmokeOptions, profile: NetworkProfile | None) -> dict[str, Direction]:
    """Return both directions of the fake's line: the network profile's, changed by the single options."""
    directions = {}
    for name, delay_ms in (("uplink", options.uplink_ms), ("downlink", options.downlink_ms)):
        base: Direction = getattr(profile, name) if profile is not None else Direction()
        changes = {"delay_ms": base.delay_ms + delay_ms}
        changes |= {"jitter_ms": options.jitter_ms} if options.jitter_ms else {}
        changes |= {"loss": options.loss} if options.loss else {}
        directions[name] = base.model_copy(update=changes)
    return directions


def _plan_request(options: SmokeOptions, *, profile: str | None, greeted: bool) -> Request:
    """Return the run: the scenario's turns spread over the calls, without warm-up calls, which would cost money."""
    path = run_documents.locate_scenario(options.scenario or DEFAULT_SCENARIO)
    request = plan.plan_run(
        str(path),
        profile=profile,
        overrides=options.overrides if profile is not None else (),
        url=None if profile is not None else "ws://127.0.0.1/",
        options=Options(options.seed, options.turns, options.out),
    )
    for turn in request.scenario.turns:
        if turn.prompt is None and turn.say is None and turn.audio is None:
            raise UsageError(
                f"{path}: turn {turn.key!r} has no speech: a live call is timed by finding the caller's speech in the "
                "audio, so use only turns with `prompt`, `say` or `audio`"
            )
    calls = assign_turns(request.scenario, options.turns, options.calls, options.seed, greeted=greeted)
    return replace(request, url=None, calls=calls)


def _plan_bursts(options: SmokeOptions) -> Request:
    """Return a run of noise bursts, whose start and end are exact and which need no download."""
    within_ms = round(options.agent_ms + options.uplink_ms + options.downlink_ms) + 1500
    turns = tuple(
        Turn(id=f"burst-{n}", say="a burst of noise", pause_ms=400, answer_within_ms=min(within_ms, 60_000))
        for n in range(options.turns)
    )
    scenario = Scenario(name="bursts", description="Bursts of noise.", turns=turns, warm_up_turns=1, seed=options.seed)
    return Request(
        scenario=scenario,
        scenario_path=Path("bursts"),
        scenario_sha256="",
        profile=None,
        url=None,
        calls=assign_turns(scenario, options.turns, options.calls, options.seed, greeted=False),
        seed=options.seed,
        telephone_network=load_telephone_network("none"),
        options=Options(options.seed, options.turns, options.out),
    )


def _plan_echo(request: Request) -> PlannedCall:
    """Return the echo call: the turns of the first call."""
    return PlannedCall(len(request.calls), request.calls[0].turns, probe=False, warm_up=True)


def _longest_s(request: Request, echo: PlannedCall | None) -> float:
    calls = (*request.calls, *([echo] if echo is not None else []))
    return max(
        sum((turn.pause_ms + turn.answer_within_ms) / 1000 + UTTERANCE_S + REPLY_S for turn in call.turns)
        for call in calls
    )
