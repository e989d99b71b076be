"""From the command line to an order: everything that can be known before anything is dialled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from turngap_agent.errors import UsageError

from turngap import network
from turngap.calibration.calibrate import burst
from turngap.live import call_ledger as ledgers
from turngap.live import credentials, preflight, safety
from turngap.live.fake.settings import Behaviour, FakeSettings, random_credentials
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
from turngap.scenario import PlannedCall, Scenario, Turn
from turngap.session import plan
from turngap.session.plan import Options, Request


def make(options: SmokeOptions, environment: Mapping[str, str]) -> SmokePlan:
    """Check everything that was given; nothing is dialled, fetched or started.

    Raises:
        UsageError: (or a subclass) something is wrong, missing or not allowed.
    """
    if not 1 <= options.turns <= MAX_TURNS:
        raise UsageError(f"--turns {options.turns}: 1 to {MAX_TURNS} turns can be measured live")
    if not 1 <= options.calls <= options.turns:
        raise UsageError(f"--calls {options.calls}: at least 1, and no more than there are turns ({options.turns})")
    calls = options.calls + options.echo
    safety.check_calls(calls)
    if options.fake:
        return _fake(options, calls)
    given = (options.uplink_ms, options.downlink_ms, options.jitter_ms, options.loss)
    if any(given) or options.network is not None or options.fake_does != Behaviour.ANSWERED:
        raise UsageError("--uplink-ms, --downlink-ms, --jitter-ms, --loss, --network and --fake-does go with --fake")
    alone = options.to is not None
    if alone and (options.profile or options.overrides or options.echo):
        raise UsageError(
            "--to measures whoever answers there, from the caller's leg alone: drop --profile, --set, --echo"
        )
    safety.check_ci(environment, options.in_ci)
    secrets = credentials.from_environment(environment)
    what = "--to" if alone else f"{AGENT_NUMBER} (the number whose calls come here)"
    to = safety.parse_number(options.to or environment.get(AGENT_NUMBER), what)
    from_ = safety.parse_number(options.from_ or environment.get(CALLER_NUMBER), f"--from (or {CALLER_NUMBER})")
    if to == from_:
        raise UsageError("the number to be called is the one that calls: two are needed")
    allowed = safety.read_allow_list(environment, options.allow)
    safety.check_allowed(to, allowed, "the number to be called")
    safety.check_allowed(from_, allowed, "the number to call from")
    safety.check_confirmed(to, options.confirm)
    public_url = preflight.parse_public_url(options.public_url)
    wanted = _request(options, profile=None if alone else options.profile or plan.DEFAULT_PROFILE, greeted=alone)
    echo = _echo(wanted) if options.echo else None
    limit_s = safety.time_limit_s(_longest_s(wanted, echo))
    return SmokePlan(
        request=wanted,
        echo=echo,
        clips=None,
        to=to,
        from_=from_,
        alone=alone,
        answers_ms=None,
        record=options.record,
        voicemail_check=alone and options.voicemail_check,
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


def _fake(options: SmokeOptions, calls: int) -> SmokePlan:
    """Against a fake: its own numbers and credentials, whatever the environment holds."""
    real = {
        "--from": options.from_,
        "--public-url": options.public_url,
        "--host": None if options.host == DEFAULT_HOST else options.host,
    }
    if given := [option for option, value in real.items() if value is not None]:
        raise UsageError(f"{', '.join(given)}: for a real call alone; the fake has numbers and an address of its own")
    try:
        behaviour = Behaviour(options.fake_does)
    except ValueError:
        raise UsageError(f"--fake-does {options.fake_does!r}: one of {', '.join(Behaviour)}") from None
    if behaviour is Behaviour.VOICEMAIL and options.to is None:
        raise UsageError(
            "--fake-does voicemail: only a call to somebody else's number ends there; give --to NUMBER too"
        )
    if not MIN_DELAY_MS <= options.agent_ms <= 10_000:
        raise UsageError(f"--agent-ms {options.agent_ms:g}: {MIN_DELAY_MS:g} to 10000 ms can be kept")
    for name, value, most in (
        ("--uplink-ms", options.uplink_ms, 1000.0),
        ("--downlink-ms", options.downlink_ms, 1000.0),
        ("--jitter-ms", options.jitter_ms, 500.0),
        ("--loss", options.loss, 0.5),
    ):
        if not 0 <= value <= most:
            raise UsageError(f"{name} {value:g}: expected 0 to {most:g}")
    named = network.load(options.network) if options.network is not None else None
    ends: dict[str, float] = {}
    if named is not None and named.disconnect_after_s is not None:
        ends["ended_after_s"] = named.disconnect_after_s
        behaviour = Behaviour.DROPPED if behaviour is Behaviour.ANSWERED else behaviour
    settings = FakeSettings(
        **random_credentials(),
        agent_ms=options.agent_ms,
        behaviour=behaviour,
        seed=options.seed,
        **ends,
        **_directions(options, named),
    )
    alone = options.to is not None
    to = safety.parse_number(options.to, "--to") if options.to is not None else settings.agent_number
    own_voice = options.scenario is not None or options.profile is not None
    wanted = _request(options, profile=options.profile, greeted=False) if own_voice else _bursts(options)
    clips = (
        None
        if own_voice
        else {turn.key: burst(200 + 7 * n % 61, n + 1) for n, turn in enumerate(wanted.scenario.turns)}
    )
    echo = _echo(wanted) if options.echo else None
    limit_s = safety.time_limit_s(_longest_s(wanted, echo))
    return SmokePlan(
        request=wanted,
        echo=echo,
        clips=clips,
        to=to,
        from_=settings.caller_number,
        alone=alone,
        answers_ms=None if options.profile is not None or alone else options.agent_ms,
        record=options.record,
        voicemail_check=alone and options.voicemail_check,
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


def _directions(options: SmokeOptions, named: NetworkProfile | None) -> dict[str, Direction]:
    """Both directions of the fake's line: a named network, with what was given for itself on top."""
    found = {}
    for name, delay_ms in (("uplink", options.uplink_ms), ("downlink", options.downlink_ms)):
        base: Direction = getattr(named, name) if named is not None else Direction()
        extra = {"delay_ms": base.delay_ms + delay_ms}
        extra |= {"jitter_ms": options.jitter_ms} if options.jitter_ms else {}
        extra |= {"loss": options.loss} if options.loss else {}
        found[name] = base.model_copy(update=extra)
    return found


def _request(options: SmokeOptions, *, profile: str | None, greeted: bool) -> Request:
    """The run, of the scenario's turns dealt to so many calls; without warm-up calls, which would cost money."""
    path = plan.locate(options.scenario or DEFAULT_SCENARIO)
    made = plan.make(
        str(path),
        profile=profile,
        overrides=options.overrides if profile is not None else (),
        url=None if profile is not None else "ws://127.0.0.1/",
        options=Options(options.seed, options.turns, options.out),
    )
    for turn in made.scenario.turns:
        if turn.prompt is None and turn.say is None and turn.audio is None:
            raise UsageError(
                f"{path}: turn {turn.key!r} has no words: a live call is timed by finding them again, so it says "
                "prompts, texts and recordings only"
            )
    calls = assign_turns(made.scenario, options.turns, options.calls, options.seed, greeted=greeted)
    return replace(made, url=None, calls=calls)


def _bursts(options: SmokeOptions) -> Request:
    """Noise with a beginning and an end beyond doubt: nothing has to be fetched."""
    within_ms = round(options.agent_ms + options.uplink_ms + options.downlink_ms) + 1500
    turns = tuple(
        Turn(id=f"burst-{n}", say="a burst of noise", pause_ms=400, answer_within_ms=min(within_ms, 60_000))
        for n in range(options.turns)
    )
    scenario = Scenario(name="bursts", description="Made up: noise.", turns=turns, warm_up_turns=1, seed=options.seed)
    return Request(
        scenario=scenario,
        scenario_path=Path("bursts"),
        scenario_sha256="",
        profile=None,
        url=None,
        calls=assign_turns(scenario, options.turns, options.calls, options.seed, greeted=False),
        seed=options.seed,
        options=Options(options.seed, options.turns, options.out),
    )


def _echo(wanted: Request) -> PlannedCall:
    """One more call of the first one's turns, to an echo."""
    return PlannedCall(len(wanted.calls), wanted.calls[0].turns, probe=False, warm_up=True)


def _longest_s(wanted: Request, echo: PlannedCall | None) -> float:
    calls = (*wanted.calls, *([echo] if echo is not None else []))
    return max(
        sum((turn.pause_ms + turn.answer_within_ms) / 1000 + UTTERANCE_S + REPLY_S for turn in call.turns)
        for call in calls
    )
