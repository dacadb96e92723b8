"""OpenAI's interface, through its own client: completions and chat, whole and streamed."""

import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.patience import stretch
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

MESSAGES: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi!"}]
GREEDY: dict[str, Any] = {"model": "letters", "temperature": 0, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def client(web: Web) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{web.url}/v1", api_key="none", max_retries=0, timeout=stretch(60)) as made:
        yield made


def test_the_one_model_is_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == client.models.retrieve("letters").id == "letters"
    with pytest.raises(openai.NotFoundError, match="not served here; ask for 'letters'"):
        client.models.retrieve("gpt-4")


def test_a_completion_streamed_is_the_completion(client: openai.OpenAI) -> None:
    asked = {"prompt": "abc", "max_tokens": 8, **GREEDY}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text != ""
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 8)


def test_every_event_counts_tokens_where_asked(client: openai.OpenAI) -> None:
    counting: Any = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    texts = list(client.completions.create(prompt=["abc", "Hello"], max_tokens=4, **counting, **GREEDY))
    for index, prompt_tokens in enumerate((3, 5)):
        counts = [chunk.usage for chunk in texts if chunk.choices and chunk.choices[0].index == index]
        assert [(count.prompt_tokens, count.completion_tokens) for count in counts if count is not None] == [
            (prompt_tokens, made) for made in (1, 2, 3, 4)
        ]
    assert texts[-1].usage is not None and (texts[-1].choices, texts[-1].usage.total_tokens) == ([], 16)
    chat = list(client.chat.completions.create(messages=MESSAGES, max_tokens=4, **counting, **GREEDY))
    assert [chunk.usage and chunk.usage.completion_tokens for chunk in chat] == [None, 1, 2, 3, 4, 4, 4]
    assert {chunk.usage.prompt_tokens for chunk in chat[1:]} == {37}


def test_several_prompts_as_text_or_as_tokens(client: openai.OpenAI, web: Web) -> None:
    texts = ["abc", "Hello"]
    by_text = client.completions.create(prompt=texts, max_tokens=4, **GREEDY)
    by_token = client.completions.create(
        prompt=[web.engine.tokenizer.encode(text) for text in texts], max_tokens=4, **GREEDY
    )
    assert [choice.index for choice in by_text.choices] == [0, 1]
    assert [choice.text for choice in by_text.choices] == [choice.text for choice in by_token.choices]
    one = client.completions.create(prompt=web.engine.tokenizer.encode("abc"), max_tokens=4, **GREEDY)
    assert one.choices[0].text == by_text.choices[0].text
    assert by_text.usage.completion_tokens == 8


def test_a_chat_streamed_is_the_chat_and_the_template_was_used(client: openai.OpenAI, web: Web) -> None:
    whole = client.chat.completions.create(messages=MESSAGES, max_completion_tokens=8, **GREEDY)
    chunks = list(client.chat.completions.create(messages=MESSAGES, max_tokens=8, stream=True, **GREEDY))
    text = whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == whole.choices[0].message.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text != ""
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    plain = client.completions.create(prompt="<system>Be brief.<user>Hi!<assistant>", max_tokens=8, **GREEDY)
    assert plain.choices[0].text == text
    assert whole.usage.prompt_tokens == plain.usage.prompt_tokens == 37
    parts = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi!"}]}]
    again = client.chat.completions.create(messages=parts, max_tokens=8, **GREEDY)
    assert again.choices[0].message.content == text


def test_an_answer_goes_back_into_the_conversation_as_it_came(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(messages=MESSAGES, max_tokens=4, **GREEDY).choices[0].message
    plain = {"role": "assistant", "content": first.content}
    more: list[Any] = [{"role": "user", "content": "And?"}]
    texts = [
        client.chat.completions.create(messages=[*MESSAGES, said, *more], max_tokens=4, **GREEDY).choices[0].message
        for said in (plain, first, first.model_dump())
    ]
    assert len({text.content for text in texts}) == 1
    called = {**plain, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    with pytest.raises(
        openai.BadRequestError, match="tool_calls: what this asks for is not implemented; leave it out, or give"
    ):
        client.chat.completions.create(messages=[*MESSAGES, called, *more], **GREEDY)


def test_what_is_off_may_be_said(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 4, **GREEDY}
    off: dict[str, Any] = {"n": 1, "store": False, "service_tier": "auto", "parallel_tool_calls": True, "tools": []}
    extra = {
        "ignore_eos": True,
        "min_tokens": 4,
        "return_cached_tokens_details": True,
        "skip_special_tokens": True,
        "reasoning_effort": None,
    }
    plain = client.chat.completions.create(**asked)
    said = client.chat.completions.create(**{**asked, **off, "modalities": ["text"], "extra_body": extra})
    assert said.choices[0].message == plain.choices[0].message
    assert said.usage.prompt_tokens_details.cached_tokens == 0
    with pytest.raises(openai.BadRequestError, match="store: what this asks for is not implemented"):
        client.chat.completions.create(**asked, store=True)


def test_an_answer_may_fill_the_context(client: openai.OpenAI, web: Web) -> None:
    asked = [{"role": "user", "content": "x" * 480}]
    answer = client.chat.completions.create(messages=asked, **GREEDY)
    assert answer.usage.total_tokens == web.engine.config.context_length
    assert answer.choices[0].finish_reason == "length"


def test_stops_and_seeds(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt="abc", max_tokens=8, **GREEDY).choices[0].text
    cut = client.completions.create(prompt="abc", max_tokens=8, stop=[whole[3:5], "never"], **GREEDY).choices[0]
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(whole[3:5])], "stop")
    asked = {"prompt": "abc", "max_tokens": 12, **GREEDY, "temperature": 1}
    drawn = [client.completions.create(**asked, seed=seed).choices[0].text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_at_least_so_many_tokens(client: openai.OpenAI, web: Web) -> None:
    asked: dict[str, Any] = {"prompt": "abc", "max_tokens": 8, "model": "letters", "temperature": 0}
    (end,) = web.engine.tokenizer.encode(client.completions.create(**asked).choices[0].text[2])
    short = client.completions.create(**asked, extra_body={"stop_token_ids": [end]})
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("stop", 3)
    longer = client.completions.create(**asked, extra_body={"stop_token_ids": [end], "min_tokens": 8})
    assert (longer.choices[0].finish_reason, longer.usage.completion_tokens) == ("length", 8)


def test_log_probabilities_in_both_forms(client: openai.OpenAI) -> None:
    lists = client.completions.create(prompt="abc", max_tokens=5, logprobs=3, **GREEDY).choices[0]
    assert "".join(lists.logprobs.tokens) == lists.text
    assert lists.logprobs.text_offset == [0, 1, 2, 3, 4]
    for token, value, top in zip(
        lists.logprobs.tokens, lists.logprobs.token_logprobs, lists.logprobs.top_logprobs, strict=True
    ):
        assert len(top) == 3
        assert top[token] == pytest.approx(value) == pytest.approx(max(top.values()))
        assert sum(map(math.exp, top.values())) <= 1 + 1e-6
    chunks = list(client.completions.create(prompt="abc", max_tokens=5, logprobs=3, stream=True, **GREEDY))
    assert [chunk.choices[0].logprobs.text_offset for chunk in chunks] == [[0], [1], [2], [3], [4]]
    asked = {"messages": MESSAGES, "max_tokens": 5, "logprobs": True, "top_logprobs": 2, **GREEDY}
    content = client.chat.completions.create(**asked).choices[0].logprobs.content
    streamed = [
        item
        for chunk in client.chat.completions.create(**asked, stream=True)
        for item in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])
    ]
    assert [item.token for item in streamed] == [item.token for item in content]
    assert all(bytes(item.bytes).decode() == item.token and len(item.top_logprobs) == 2 for item in content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 600}, "more than the cache holds"),
        ({"temperature": -1}, "temperature: Input should be greater"),
        ({"n": 2}, "n: what this asks for is not implemented; leave it out, or give 1"),
        ({"presence_penalty": 1}, "presence_penalty: what this asks for is not implemented; leave it out, or give 0"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"prompt": []}, "there is no prompt"),
        ({"prompt": ["a", ""]}, "the prompt is empty"),
        ({"max_tokens": 4, "stop": "x", "extra_body": {"min_tokens": 4}}, "min_tokens is 4; it is taken without stop"),
        ({"max_tokens": 4, "extra_body": {"min_tokens": 5}}, r"up to the most new tokens of the request \(4\)"),
        ({"echo": True}, "echo: what this asks for is not implemented; leave it out, or give false"),
        ({"suffix": "x"}, "suffix: what this asks for is not implemented; leave it out, or give null"),
        ({"extra_body": {"colour": 1}}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_the_clients_own_exception(client: openai.OpenAI, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.completions.create(**{"prompt": "abc", **GREEDY, **changes})


def test_another_model_and_an_empty_conversation_are_mistakes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as wrong:
        client.chat.completions.create(messages=MESSAGES, model="gpt-4")
    assert wrong.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="messages: List should have at least 1 item"):
        client.chat.completions.create(messages=[], **GREEDY)
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(messages=MESSAGES, tools=[{"type": "function", "function": {}}], **GREEDY)
