"""What the prefix cache may serve of a prompt."""

from turngap_agent.llm import Message, Request
from turngap_agent.llm.vllm.chunks import Usage
from turngap_agent.llm.vllm.prefix import TEMPLATE_TOKENS, PrefixLedger


def ledger() -> PrefixLedger:
    learned = PrefixLedger()
    learned.learn(shared_tokens=64, block_tokens=16)
    return learned


def begin(calls: PrefixLedger, block: str, *said: str) -> tuple[str, int]:
    """A request of that call: what was said so far, the caller's last words at the end."""
    *before, words = said or ("hello",)
    history = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(before))
    return calls.begin(Request(block, history, words, 10), 10)


def test_a_new_call_may_find_the_system_prompt() -> None:
    """In whole blocks, and one block more: two calls' own blocks may begin with the same letter."""
    calls = ledger()
    assert calls.end(begin(calls, "a"), Usage(100, 10)) == 80


def test_a_later_request_may_find_what_its_own_call_has_had() -> None:
    """Prompt and reply of the longest request before it."""
    calls = ledger()
    calls.end(begin(calls, "a"), Usage(100, 10))
    calls.end(begin(calls, "b"), Usage(900, 10))
    assert calls.end(begin(calls, "a"), Usage(140, 10)) == 110
    assert calls.end(begin(calls, "a"), Usage(180, 10)) == 150


def test_a_cancelled_request_counts_with_the_most_it_can_have_had() -> None:
    """It has no accounts: a token has a byte at least, beside the template's; it is never more than the prompt."""
    calls = ledger()
    begin(calls, "a", "well")
    most = 80 + 1 + TEMPLATE_TOKENS + 4 + TEMPLATE_TOKENS + 10
    assert calls.end(begin(calls, "a", "well then"), Usage(900, 10)) == most
    assert calls.end(begin(calls, "b"), Usage(900, 10)) == 80
    calls = ledger()
    begin(calls, "a", "well")
    assert calls.end(begin(calls, "a", "well then"), Usage(100, 10)) == 100


def test_a_cancelled_request_does_not_excuse_all_later_turns() -> None:
    """Another call's work found later in the call is seen: what was cancelled early on was short."""
    calls = ledger()
    begin(calls, "a", "well")
    calls.end(begin(calls, "a", "well then"), Usage(100, 10))
    assert calls.end(begin(calls, "a", "well then", "yes?", "go on"), Usage(400, 10)) == 80 + 1 + 4 + 32 + 10


def test_of_a_cancelled_request_the_accounts_of_the_prompts_before_it_count() -> None:
    """Only what came after the longest earlier prompt that it begins with is counted in bytes; é has two."""
    calls = ledger()
    calls.end(begin(calls, "a", "h" * 999), Usage(300, 10))
    begin(calls, "a", "h" * 999, "yes?", "café")
    most = 300 + 4 + 5 + 2 * TEMPLATE_TOKENS + 10
    assert calls.end(begin(calls, "a", "h" * 999, "yes?", "cafeteria"), Usage(900, 10)) == most
    other = ledger()
    other.end(begin(other, "a", "h" * 999), Usage(300, 10))
    begin(other, "a", "forgotten", "yes?", "well")
    most = 80 + 1 + TEMPLATE_TOKENS + 9 + 4 + 4 + 3 * TEMPLATE_TOKENS + 10
    assert other.end(begin(other, "a", "something else"), Usage(900, 10)) == max(310, most)


def test_where_the_server_does_not_tell_nothing_is_judged() -> None:
    """No hits in the warm-up's accounts, no allowance; the block size has a default."""
    silent = PrefixLedger()
    silent.learn(None, None)
    assert silent.end(begin(silent, "a"), Usage(100, 10)) is None
    silent.learn(0, None)
    assert silent.end(begin(silent, "a"), Usage(100, 10)) == 16


def test_a_restarted_server_has_forgotten_its_calls() -> None:
    """What was learned of the old one counts no more, and a request that outlived it is harmless."""
    calls = ledger()
    old = begin(calls, "a")
    calls.learn(32, 16)
    assert calls.end(old, Usage(100, 10)) == 48
    assert calls.end(begin(calls, "a"), Usage(140, 10)) == 48
