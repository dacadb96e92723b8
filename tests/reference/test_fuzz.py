"""Requests made at random from the server's own description of itself: none is answered with a server error."""

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

from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

EXAMPLES = {"post": 40, "get": 3}
"""Requests for each operation; most of GET's take no argument."""

OPERATIONS = [
    *(("post", path) for path in ("/generate", "/v1/completions", "/v1/chat/completions", "/flush_cache")),
    *(("get", path) for path in ("/flush_cache", "/get_server_info", "/get_model_info", "/health", "/health_generate")),
    *(("get", path) for path in ("/metrics", "/v1/models", "/v1/models/{asked}")),
]


def test_every_operation_is_described_and_tried(web: Web) -> None:
    described = web.get("/openapi.json").json()["paths"]
    assert sorted((method, path) for path, methods in described.items() for method in methods) == sorted(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_is_answered_with_a_server_error(web: Web, method: str, path: str) -> None:
    operation = schemathesis.openapi.from_dict(web.get("/openapi.json").json())[path][method]
    modes = [GenerationMode.POSITIVE] + [GenerationMode.NEGATIVE] * (method == "post" and path != "/flush_cache")
    statuses = set()

    @settings(
        max_examples=EXAMPLES[method],
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*(operation.as_strategy(mode) for mode in modes)))
    def attempt(case: schemathesis.Case) -> None:
        response = case.call(base_url=web.url, timeout=60)
        case.validate_response(response, checks=CHECKS)
        statuses.add(response.status_code)

    attempt()
    assert statuses & {200, 400, 404}
    if len(modes) > 1:
        assert 400 in statuses
    assert web.get("/health").status_code == 200
