"""What the prefix cache may serve of a prompt."""

from pipeline.llm.vllm.chunks import Usage
from pipeline.llm.vllm.prefix import PrefixLedger


def ledger() -> PrefixLedger:
    learned = PrefixLedger()
    learned.learn(shared_tokens=64, block_tokens=16)
    return learned


def test_a_new_call_may_find_the_system_prompt() -> None:
    """In whole blocks, and one block more: two calls' own blocks may begin with the same letter."""
    calls = ledger()
    assert calls.end(calls.begin("a"), Usage(100, 10)) == 80


def test_a_later_request_may_find_what_its_own_call_has_had() -> None:
    """Prompt and reply of the longest request before it."""
    calls = ledger()
    calls.end(calls.begin("a"), Usage(100, 10))
    calls.end(calls.begin("b"), Usage(900, 10))
    assert calls.end(calls.begin("a"), Usage(140, 10)) == 110
    assert calls.end(calls.begin("a"), Usage(180, 10)) == 150


def test_after_a_cancelled_request_all_of_the_prompt_is_the_calls_own() -> None:
    """A cancelled request has no accounts: how much of it was cached is not known."""
    calls = ledger()
    calls.begin("a")
    assert calls.end(calls.begin("a"), Usage(140, 10)) == 140


def test_where_the_server_does_not_tell_nothing_is_judged() -> None:
    """No hits in the warm-up's accounts, no allowance; the block size has a default."""
    silent = PrefixLedger()
    silent.learn(None, None)
    assert silent.end(silent.begin("a"), Usage(100, 10)) is None
    silent.learn(0, None)
    assert silent.end(silent.begin("a"), Usage(100, 10)) == 16


def test_a_restarted_server_has_forgotten_its_calls() -> None:
    """What was learned of the old one counts no more, and a request that outlived it is harmless."""
    calls = ledger()
    old = calls.begin("a")
    calls.learn(32, 16)
    assert calls.end(old, Usage(100, 10)) == 48
    assert calls.end(calls.begin("a"), Usage(140, 10)) == 48
