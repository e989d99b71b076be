"""The body of a request, as messages or as ids."""

from turngap_agent.llm import Message
from turngap_agent.llm.vllm import prompt
from turngap_agent.llm.vllm.token_ids import FIRST_ID, N_IDS, TokenHistory, stand_in

from tests.pipeline.llm.vllm.builders import asked, settings_for

HISTORY = (Message("user", "Hello?"), Message("assistant", "Good morning."))


def test_the_calls_block_follows_the_shared_prompt() -> None:
    """System prompt, block, history, the caller's words: what calls share comes first."""
    request = asked(history=HISTORY)
    system, *turns = prompt.messages(" Be brief. ", request)
    assert system == {"role": "system", "content": f"Be brief.\n\n{request.call_block}"}
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[-1]["content"] == request.words


def test_a_request_streams_with_its_accounts() -> None:
    """And has nothing that an OpenAI server other than vLLM would refuse."""
    body = prompt.body(settings_for(), asked(max_tokens=7), {"messages": []})
    assert body == {
        "model": "fake/model",
        "messages": [],
        "max_tokens": 7,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_callers_who_wait_go_first() -> None:
    """Speculative work has a priority that vLLM serves later; without priorities none is sent."""
    speculative = asked(waiting=False)
    assert prompt.body(settings_for(), speculative, {})["priority"] > 0
    assert "priority" not in prompt.body(settings_for(), asked(), {})
    assert "priority" not in prompt.body(settings_for(priority=False), speculative, {})


def test_a_script_sets_the_length() -> None:
    """Its words and two tokens more, within the limits; ids are asked for to count them."""
    scripted = settings_for(script="One moment, please.", ignore_eos=True)
    body = prompt.body(scripted, asked(), {})
    assert (body["max_tokens"], body["ignore_eos"], body["return_token_ids"]) == (5, True, True)
    assert prompt.body(scripted, asked(max_tokens=2), {})["max_tokens"] == 2


def test_stand_in_ids_are_the_same_every_time_and_differ_between_words() -> None:
    """One a word and mark, in a range that any vocabulary has."""
    ids = stand_in("A b, a B.")
    assert ids == stand_in("a b , a b .")
    assert len(ids) == 6
    assert len({*ids}) == 4
    assert all(FIRST_ID <= token < FIRST_ID + N_IDS for token in ids)


def test_generated_ids_go_into_the_history() -> None:
    """As the model gave them, so that the prompt goes on where the cache ended; cut where the reply was cut."""
    history = TokenHistory()
    first = asked("Hello?")
    before = history.prompt("Be brief.", first)
    history.generated(first, [1, 2, 3, 4])
    after = history.prompt(
        "Be brief.", asked("Bye.", history=(Message("user", "Hello?"), Message("assistant", "x y z w")))
    )
    assert after == [*before, 1, 2, 3, 4, *stand_in("Bye.")]
    cut = history.prompt("Be brief.", asked("Bye.", history=(Message("user", "Hello?"), Message("assistant", "x y"))))
    assert cut == [*before, 1, 2, *stand_in("Bye.")]


def test_a_reply_of_another_call_is_not_taken() -> None:
    """Without ids of its own a message is made of stand-ins."""
    history = TokenHistory()
    history.generated(asked(call="1"), [1, 2, 3])
    other = asked("Bye.", call="2", history=HISTORY)
    own = [*stand_in(other.call_block), *stand_in("Hello?"), *stand_in("Good morning."), *stand_in("Bye.")]
    assert history.prompt("", other) == own
