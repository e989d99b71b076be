"""The body of a request, with messages or with ids."""

from turngap_agent.llm import Message
from turngap_agent.llm.vllm import prompt
from turngap_agent.llm.vllm.prompt import FIRST_ID, N_IDS, PromptIds, stand_in_ids

from tests.pipeline.llm.vllm.builders import make_request, settings_for

HISTORY = (Message("user", "Hello?"), Message("assistant", "Good morning."))


def test_the_calls_block_follows_the_shared_prompt() -> None:
    """System prompt, block, history, the caller's words: what calls share is first."""
    request = make_request(history=HISTORY)
    system, *turns = prompt.build_messages(" Be brief. ", request)
    assert system == {"role": "system", "content": f"Be brief.\n\n{request.call_block}"}
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[-1]["content"] == request.words


def test_a_request_asks_for_a_stream_with_usage() -> None:
    """And for nothing that an OpenAI server other than vLLM would refuse."""
    body = prompt.build_body(settings_for(), make_request(max_tokens=7), {"messages": []})
    assert body == {
        "model": "fake/model",
        "messages": [],
        "max_tokens": 7,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_waiting_callers_have_priority() -> None:
    """Speculative work has a priority that vLLM serves later; without priorities none is sent."""
    speculative = make_request(waiting=False)
    assert prompt.build_body(settings_for(), speculative, {})["priority"] > 0
    assert "priority" not in prompt.build_body(settings_for(), make_request(), {})
    assert "priority" not in prompt.build_body(settings_for(priority=False), speculative, {})


def test_a_script_determines_the_length() -> None:
    """Its words and two tokens more, within the limits; ids are requested to count them."""
    scripted = settings_for(script="One moment, please.", ignore_eos=True)
    body = prompt.build_body(scripted, make_request(), {})
    assert (body["max_tokens"], body["ignore_eos"], body["return_token_ids"]) == (5, True, True)
    assert prompt.build_body(scripted, make_request(max_tokens=2), {})["max_tokens"] == 2


def test_stand_in_ids_are_the_same_every_time_and_differ_between_words() -> None:
    """One a word and mark, in a range that any vocabulary has."""
    ids = stand_in_ids("A b, a B.")
    assert ids == stand_in_ids("a b , a b .")
    assert len(ids) == 6
    assert len({*ids}) == 4
    assert all(FIRST_ID <= token < FIRST_ID + N_IDS for token in ids)


def test_generated_ids_are_in_the_history() -> None:
    """As the model generated them, so that the cache serves them; of a cut reply, as many as its text has."""
    prompts = PromptIds()
    first = make_request("Hello?")
    before = prompts.build("Be brief.", first)
    prompts.store(first, [1, 2, 3, 4])
    after = prompts.build(
        "Be brief.", make_request("Bye.", history=(Message("user", "Hello?"), Message("assistant", "x y z w")))
    )
    assert after == [*before, 1, 2, 3, 4, *stand_in_ids("Bye.")]
    cut = prompts.build(
        "Be brief.", make_request("Bye.", history=(Message("user", "Hello?"), Message("assistant", "x y")))
    )
    assert cut == [*before, 1, 2, *stand_in_ids("Bye.")]


def test_a_reply_of_another_call_is_not_used() -> None:
    """A message without generated ids is made of stand-ins."""
    prompts = PromptIds()
    prompts.store(make_request(call="1"), [1, 2, 3])
    other = make_request("Bye.", call="2", history=HISTORY)
    own = [
        *stand_in_ids(other.call_block),
        *stand_in_ids("Hello?"),
        *stand_in_ids("Good morning."),
        *stand_in_ids("Bye."),
    ]
    assert prompts.build("", other) == own
