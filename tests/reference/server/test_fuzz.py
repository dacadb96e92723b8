"""Requests made at random from the server's own description of itself: none is answered with a server error."""

import json
from functools import partial

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.patience import stretch
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

EXAMPLES = {"post": 60, "get": 3}
"""Requests for each operation; most of GET's take no argument."""

OPERATIONS = [
    *(("post", path) for path in ("/generate", "/v1/completions", "/v1/chat/completions", "/flush_cache")),
    *(("get", path) for path in ("/flush_cache", "/get_server_info", "/get_model_info", "/health", "/health_generate")),
    *(("get", path) for path in ("/metrics", "/v1/models", "/v1/models/{asked}")),
]


def test_every_operation_is_described_and_tried(web: Web) -> None:
    described = web.get("/openapi.json").json()["paths"]
    assert sorted((method, path) for path, methods in described.items() for method in methods) == sorted(OPERATIONS)


def servable(case: schemathesis.Case, stream: bool) -> schemathesis.Case:
    """The case with as little changed as makes it likely to be served: a description cannot say, for one, that there
    is either a text or a list of tokens, and few texts drawn at random are the name of the model."""
    body = case.body
    body["stream"] = stream
    if case.path == "/generate":
        body.pop("input_ids", None)
        given = body.get("sampling_params")
        changed = {"text": "abc", "logprob_start_len": min(body.get("logprob_start_len", 0), 2), "rid": None}
        sampling = {**(given if isinstance(given, dict) else {}), "max_new_tokens": 4}
        body.update(changed, top_logprobs_num=min(body.get("top_logprobs_num", 0), 9), sampling_params=sampling)
    elif case.path == "/v1/completions":
        body.update(model="letters", prompt="abc", max_tokens=4)
    else:
        body.update(model="letters", max_tokens=4, max_completion_tokens=None)
    return case


def check_stream(text: str) -> None:
    """Events of JSON, the mark of the end behind them, and no error that is the server's."""
    *events, end, rest = text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    for event in events:
        data = json.loads(event.removeprefix("data: "))
        assert "error" not in data or data["error"]["code"] < 500


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_is_answered_with_a_server_error(web: Web, method: str, path: str) -> None:
    operation = schemathesis.openapi.from_dict(web.get("/openapi.json").json())[path][method]
    asks = method == "post" and path != "/flush_cache"
    cases = [operation.as_strategy(GenerationMode.POSITIVE)]
    if asks:
        cases += [cases[0].map(partial(servable, stream=stream)) for stream in (False, True)]
        cases.append(operation.as_strategy(GenerationMode.NEGATIVE))
    seen = set()

    @settings(
        max_examples=EXAMPLES[method],
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*cases))
    def attempt(case: schemathesis.Case) -> None:
        response = case.call(base_url=web.url, timeout=stretch(60))
        case.validate_response(response, checks=CHECKS)
        streamed = response.headers["content-type"][0].startswith("text/event-stream")
        if streamed:
            check_stream(response.text)
        seen.add((response.status_code, streamed))

    attempt()
    assert seen & {(200, False), (404, False)}
    if asks:
        assert {(200, False), (200, True), (400, False)} <= seen, "some answers were never tried"
    assert web.get("/health").status_code == 200
