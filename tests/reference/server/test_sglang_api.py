"""SGLang's interface: shapes, streams, log-probabilities, mistakes."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.patience import stretch
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

GREEDY = {"temperature": 0, "max_new_tokens": 6, "ignore_eos": True}
OFF = "what this asks for is not implemented; leave it out, or give"


def events(web: Web, **body: object) -> list[dict[str, Any]]:
    """The events of a stream; the end mark must be there, and last."""
    with web.client.stream("POST", "/generate", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines]


def test_one_prompt_gives_an_object_and_a_batch_a_list(web: Web) -> None:
    one = web.post("/generate", text="abc", sampling_params=GREEDY).json()
    assert (one["meta_info"]["prompt_tokens"], one["meta_info"]["completion_tokens"]) == (3, 6)
    assert one["meta_info"]["finish_reason"] == {"type": "length", "length": 6}
    assert one["text"] == web.engine.tokenizer.decode(one["output_ids"])
    ids = web.engine.tokenizer.encode("abc")
    (same,) = web.post("/generate", input_ids=[ids], sampling_params=GREEDY).json()
    assert same["output_ids"] == one["output_ids"]
    other = {**GREEDY, "max_new_tokens": 2}
    first, second = web.post("/generate", text=["abc", "xy"], sampling_params=[GREEDY, other]).json()
    assert first["text"] == one["text"]
    assert second["meta_info"]["completion_tokens"] == 2


def test_a_stream_grows_to_what_comes_without_one(web: Web) -> None:
    whole = web.post("/generate", text=["abc", "Hello"], sampling_params=GREEDY).json()
    seen: list[list[dict[str, Any]]] = [[], []]
    for event in events(web, text=["abc", "Hello"], sampling_params=GREEDY):
        seen[event["index"]].append(event)
    for mine, expected in zip(seen, whole, strict=True):
        assert [event["meta_info"]["completion_tokens"] for event in mine] == [1, 2, 3, 4, 5, 6]
        assert all(later["text"].startswith(sooner["text"]) for sooner, later in pairwise(mine))
        assert [event["meta_info"]["finish_reason"] is None for event in mine] == [True] * 5 + [False]
        assert (mine[-1]["text"], mine[-1]["output_ids"]) == (expected["text"], expected["output_ids"])


def test_fewer_events_where_asked_but_always_the_first_token(web: Web) -> None:
    sparse = events(web, text="abc", sampling_params={**GREEDY, "stream_interval": 4})
    assert [event["meta_info"]["completion_tokens"] for event in sparse] == [1, 4, 6]
    assert all("index" not in event for event in sparse)


def test_log_probabilities_of_prompt_and_output_with_top_lists(web: Web) -> None:
    asked = {"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 5, "sampling_params": GREEDY}
    meta = web.post("/generate", text="Hello!", **asked).json()["meta_info"]
    assert [len(meta[f"{side}_token_logprobs"]) for side in ("input", "output")] == [6, 6]
    assert [len(meta[f"{side}_top_logprobs"]) for side in ("input", "output")] == [6, 6]
    assert meta["input_token_logprobs"][0][0] is None
    assert meta["input_top_logprobs"][0] is None
    for (logprob, token, text), top in zip(meta["output_token_logprobs"], meta["output_top_logprobs"], strict=True):
        assert text is None
        assert [logprob, token] == pytest.approx(top[0][:2])  # greedy takes the likeliest
        assert [item[0] for item in top] == sorted((item[0] for item in top), reverse=True)
    only_new = web.post("/generate", text="Hello!", return_logprob=True, sampling_params=GREEDY).json()["meta_info"]
    assert only_new["input_token_logprobs"] == []
    assert "output_top_logprobs" not in only_new
    named = web.post("/generate", text="Hello!", return_text_in_logprobs=True, **asked).json()["meta_info"]
    assert [item[2] for item in named["input_token_logprobs"]] == list("Hello!")


def test_stops_say_what_they_matched(web: Web) -> None:
    whole = web.post("/generate", text="abc", sampling_params=GREEDY).json()
    stop = whole["text"][2]
    cut = web.post("/generate", text="abc", sampling_params={**GREEDY, "stop": stop}).json()
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["meta_info"]["finish_reason"] == {"type": "stop", "matched": stop}
    token = whole["output_ids"][3]
    ended = web.post("/generate", text="abc", sampling_params={**GREEDY, "stop_token_ids": [token]}).json()
    assert ended["output_ids"] == whole["output_ids"][: whole["output_ids"].index(token) + 1]
    assert ended["meta_info"]["finish_reason"] == {"type": "stop", "matched": token}


def test_a_seed_draws_the_same_text_again(web: Web) -> None:
    asked = {"temperature": 1.0, "max_new_tokens": 12, "ignore_eos": True}
    texts = [
        web.post("/generate", text="abc", sampling_params={**asked, "sampling_seed": seed}).json()["text"]
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "give either text or input_ids"),
        ({"text": "a", "input_ids": [1]}, "give either text or input_ids"),
        ({"text": ""}, "the prompt is empty"),
        ({"input_ids": []}, "the batch is empty"),
        ({"input_ids": [[]]}, "the prompt is empty"),
        ({"input_ids": [97]}, "token 97 of the prompt is not in the vocabulary (0 to 96)"),
        ({"input_ids": [-1]}, "input_ids.0: Input should be greater than or equal to 0"),
        ({"input_ids": [1] * 600}, "more than the cache holds (512)"),
        ({"text": "a", "sampling_params": {"max_new_tokens": 600}}, "more than the cache holds (512)"),
        ({"text": "a", "sampling_params": {"max_new_tokens": 0}}, "sampling_params.max_new_tokens: Input should be"),
        ({"text": "a", "sampling_params": {"temperature": "hot"}}, "sampling_params.temperature: Input should be"),
        ({"text": "a", "sampling_params": {"top_p": 0}}, "sampling_params.top_p: Input should be greater than 0"),
        ({"text": "a", "sampling_params": {"regex": "a*"}}, f"sampling_params.regex: {OFF} null"),
        ({"text": "a", "sampling_params": [{}, {}]}, "2 sampling_params for 1 prompts"),
        ({"text": "a", "lora_path": "mine"}, f"lora_path: {OFF} null"),
        ({"text": "a", "return_routed_experts": True}, f"return_routed_experts: {OFF} false"),
        (
            {"text": "a", "sampling_params": {"min_new_tokens": 3, "stop": "x"}},
            "min_new_tokens is 3; it is taken without stop strings",
        ),
        (
            {"text": "a", "sampling_params": {"min_new_tokens": 3, "max_new_tokens": 2}},
            "up to the most new tokens of the request (2)",
        ),
        ({"text": "a", "sampling_params": {"skip_special_tokens": False}}, f"skip_special_tokens: {OFF} true"),
        ({"text": "a", "surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"text": ["a", 1]}, "text.1: Input should be a valid string"),
        (
            {"text": "a", "return_logprob": True, "logprob_start_len": 9},
            "log-probabilities are asked for from position 9 of the prompt",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_is_one_clear_message(web: Web, body: dict[str, Any], message: str, stream: bool) -> None:
    response = web.post("/generate", **body, stream=stream)
    assert response.status_code == 400
    error = response.json()["error"]
    assert message in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", 400)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", "send a JSON object"),
        (b"", "Field required"),
        (b"\xff\xfe\x00", "it is not UTF-8, is nested too deeply, or holds a number too long"),
        (b'{"text": "\\ud800"}', ""),
        (b'{"text": "a", "sampling_params": {"temperature": NaN}}', "temperature"),
        (b'{"text": "a", "sampling_params": {"temperature": 1e999}}', "temperature"),
        (b'{"input_ids": [' + b"9" * 5000 + b"]}", ""),
        (b"[" * 100_000, ""),
        (b'{"text": "' + b"a" * 150_000 + b'"}', "makes more tokens than the cache holds (512)"),
        (b'{"input_ids": [' + b"[]," * 40_000 + b"[]]}", "input_ids: List should have at most 16384 items"),
        (b'{"text": [' + b'"",' * 40_000 + b'""]}', "text: List should have at most 16384 items"),
        (b'{"input_ids": [' + b'"",' * 40_000 + b'""]}', "input_ids.0: Input should be a valid integer"),
        (
            b'{"text": "a", "sampling_params": [' + b"{}," * 40_000 + b"{}]}",
            "sampling_params: List should have at most",
        ),
        (b"{" + b",".join(b'"k%d": 0' % n for n in range(9000)) + b"}", "an object of 9000 fields"),
    ],
)
def test_a_body_that_is_no_request_is_refused(web: Web, content: bytes, message: str) -> None:
    response = web.client.post("/generate", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


def test_a_body_too_large_is_refused_by_its_length_or_on_the_way(web: Web) -> None:
    text = b'{"text": "' + b"a" * 300_000 + b'"}'
    for content in (text, iter([text[:150_000], text[150_000:]])):
        response = web.client.post("/generate", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.json()["error"]["code"] == 413


def test_too_many_prompts_are_told_to_come_later(web: Web) -> None:
    response = web.post("/generate", text=["a"] * 1000, sampling_params=GREEDY)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert "max_queued_requests (512)" in response.json()["error"]["message"]
    web.wait_until_idle()


def test_the_cache_can_be_flushed_while_nothing_runs(web: Web) -> None:
    web.wait_until_idle()
    assert web.get("/flush_cache").status_code == web.post("/flush_cache").status_code == 200
    long = {"text": ["a"] * 60, "sampling_params": {**GREEDY, "max_new_tokens": 400}, "stream": True}
    with web.client.stream("POST", "/generate", json=long) as busy:
        lines = busy.iter_lines()  # closes the connection once it is collected
        next(lines)
        assert web.post("/flush_cache").status_code == 400
        assert web.post("/flush_cache?timeout=0.1").status_code == 400
    assert web.post(f"/flush_cache?timeout={stretch(30)}").status_code == 200, (
        "the requests are aborted, so it comes to rest"
    )
    refused = web.post("/flush_cache?timeout=-1")
    assert refused.status_code == 400 and "timeout: Input should be greater" in refused.json()["error"]["message"]


def test_what_load_generators_send_although_it_is_off(web: Web) -> None:
    """As `sglang.bench_serving` and SGLang's language do; what is on is an error: see the mistakes."""
    plain = web.post("/generate", text="abc", sampling_params=GREEDY).json()
    off = {"lora_path": None, "image_data": None, "token_ids_logprob": None, "return_routed_experts": False}
    more = {"min_new_tokens": 6, "skip_special_tokens": True, "spaces_between_special_tokens": True}
    more |= {"stop_regex": [], "regex": None, "json_schema": None}
    sent = web.post(
        "/generate", text="abc", logprob_start_len=-1, return_logprob=False, sampling_params={**GREEDY, **more}, **off
    )
    assert sent.json()["output_ids"] == plain["output_ids"]


def test_what_load_generators_ask_for(web: Web) -> None:
    info = web.get("/get_server_info").json()
    assert info == {**web.get("/server_info").json(), "internal_states": info["internal_states"]}
    assert (info["pp_size"], info["dp_size"], info["vocab_size"]) == (2, 1, 97)
    (inside,) = info["internal_states"]
    assert inside["memory_usage"]["token_capacity"] == 2 * 16 * 512
    assert inside["effective_max_running_requests_per_dp"] == 32
    model = web.get("/get_model_info").json()
    assert model == web.get("/model_info").json() and model["is_generation"] is True
    assert web.get("/health_generate").status_code == 200
