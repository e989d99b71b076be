"""How much of a prompt the prefix cache may serve."""

from turngap_agent.llm import Message, Request
from turngap_agent.llm.vllm.event_stream import Usage
from turngap_agent.llm.vllm.prefix import TEMPLATE_TOKENS, PrefixTracker


def warm_tracker() -> PrefixTracker:
    tracker = PrefixTracker()
    tracker.learn(shared_tokens=64, block_tokens=16)
    return tracker


def begin(tracker: PrefixTracker, block: str, *messages: str) -> tuple[str, int]:
    """Start a request of that call; the last of `messages` are the caller's words."""
    *before, words = messages or ("hello",)
    history = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(before))
    return tracker.start_request(Request(block, history, words, 10), 10)


def test_a_new_call_may_be_served_the_system_prompt() -> None:
    """In whole blocks, and one block more: the blocks of two calls may start with the same letter."""
    tracker = warm_tracker()
    assert tracker.end_request(begin(tracker, "a"), Usage(100, 10)) == 80


def test_a_later_request_may_be_served_its_own_calls_history() -> None:
    """Prompt and reply of the longest request before it."""
    tracker = warm_tracker()
    tracker.end_request(begin(tracker, "a"), Usage(100, 10))
    tracker.end_request(begin(tracker, "b"), Usage(900, 10))
    assert tracker.end_request(begin(tracker, "a"), Usage(140, 10)) == 110
    assert tracker.end_request(begin(tracker, "a"), Usage(180, 10)) == 150


def test_a_cancelled_request_counts_with_the_most_it_can_have_had() -> None:
    """Its usage is not known: a token has at least a byte, and the template's are added; at most the whole prompt."""
    tracker = warm_tracker()
    begin(tracker, "a", "well")
    bound = 80 + 1 + TEMPLATE_TOKENS + 4 + TEMPLATE_TOKENS + 10
    assert tracker.end_request(begin(tracker, "a", "well then"), Usage(900, 10)) == bound
    assert tracker.end_request(begin(tracker, "b"), Usage(900, 10)) == 80
    tracker = warm_tracker()
    begin(tracker, "a", "well")
    assert tracker.end_request(begin(tracker, "a", "well then"), Usage(100, 10)) == 100


def test_a_cancelled_request_does_not_excuse_all_later_turns() -> None:
    """Another call's work is noticed later in the call: what was cancelled early was short."""
    tracker = warm_tracker()
    begin(tracker, "a", "well")
    tracker.end_request(begin(tracker, "a", "well then"), Usage(100, 10))
    assert (
        tracker.end_request(begin(tracker, "a", "well then", "yes?", "go on"), Usage(400, 10)) == 80 + 1 + 4 + 32 + 10
    )


def test_usage_of_earlier_prompts_bounds_a_cancelled_request() -> None:
    """Only what follows the longest earlier prompt that it starts with is counted in bytes; é has two."""
    tracker = warm_tracker()
    tracker.end_request(begin(tracker, "a", "h" * 999), Usage(300, 10))
    begin(tracker, "a", "h" * 999, "yes?", "café")
    bound = 300 + 4 + 5 + 2 * TEMPLATE_TOKENS + 10
    assert tracker.end_request(begin(tracker, "a", "h" * 999, "yes?", "cafeteria"), Usage(900, 10)) == bound
    other = warm_tracker()
    other.end_request(begin(other, "a", "h" * 999), Usage(300, 10))
    begin(other, "a", "forgotten", "yes?", "well")
    bound = 80 + 1 + TEMPLATE_TOKENS + 9 + 4 + 4 + 3 * TEMPLATE_TOKENS + 10
    assert other.end_request(begin(other, "a", "something else"), Usage(900, 10)) == max(310, bound)


def test_without_cached_tokens_nothing_is_judged() -> None:
    """If the warm-up's usage has no cached tokens, no limit is known; the block size has a default."""
    silent = PrefixTracker()
    silent.learn(None, None)
    assert silent.end_request(begin(silent, "a"), Usage(100, 10)) is None
    silent.learn(0, None)
    assert silent.end_request(begin(silent, "a"), Usage(100, 10)) == 16


def test_a_restarted_server_has_no_history() -> None:
    """What was learned of the old one is dropped, and a request that outlived it is harmless."""
    tracker = warm_tracker()
    old = begin(tracker, "a")
    tracker.learn(32, 16)
    assert tracker.end_request(old, Usage(100, 10)) == 48
    assert tracker.end_request(begin(tracker, "a"), Usage(140, 10)) == 48
