"""The server under clients that come in numbers, hang up, or ask for nonsense: the others notice nothing."""

import asyncio
import random
import time

import httpx
import pytest

from tests.patience import stretch, wait_until
from tests.reference.conftest import Web

pytestmark = pytest.mark.xdist_group("web")

GREEDY = {"temperature": 0, "max_new_tokens": 6, "ignore_eos": True}
ENDLESS = {**GREEDY, "max_new_tokens": 500}


def metrics(web: Web) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(web.get("/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_a_client_that_hangs_up_mid_stream_aborts_its_requests(web: Web) -> None:
    web.wait_until_idle()
    before = web.engine.stats()
    asked = {"text": ["a"] * 20, "sampling_params": ENDLESS, "stream": True}
    with web.client.stream("POST", "/generate", json=asked) as response:
        next(response.iter_lines())
    web.wait_until_idle()
    after = web.engine.stats()
    assert after.aborted - before.aborted > 0
    assert after.generated_tokens - before.generated_tokens < 20 * 500


def test_a_client_that_hangs_up_before_its_answer_aborts_its_requests(web: Web) -> None:
    web.wait_until_idle()
    before = web.engine.stats()
    with pytest.raises(httpx.ReadTimeout):
        impatient = httpx.Timeout(stretch(60), read=stretch(0.3))
        web.client.post("/generate", json={"text": ["a"] * 60, "sampling_params": ENDLESS}, timeout=impatient)
    web.wait_until_idle()
    assert web.engine.stats().aborted - before.aborted > 0
    assert metrics(web)["ringproof:open_http_requests"] == 0


def test_two_hundred_clients_at_once_each_get_their_own_answer(web: Web) -> None:
    prompts = [f"{number:x}" for number in range(20)]
    alone = {prompt: web.post("/generate", text=prompt, sampling_params=GREEDY).json()["text"] for prompt in prompts}
    assert len(set(alone.values())) > 10

    async def ask(client: httpx.AsyncClient, number: int) -> bool:
        prompt = prompts[number % len(prompts)]
        body = {"text": prompt, "sampling_params": GREEDY}
        response = await client.post("/generate", json=body)
        return bool(response.json()["text"] == alone[prompt])

    async def crowd() -> list[bool]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=web.url, timeout=stretch(120), limits=limits) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(200)))

    assert asyncio.run(crowd()) == [True] * 200


def test_a_storm_of_aborts_leaves_the_others_their_answers(web: Web) -> None:
    expected = web.post("/generate", text="abc", sampling_params={**GREEDY, "max_new_tokens": 40}).json()["text"]
    chance = random.Random(1)

    async def hang_up(client: httpx.AsyncClient) -> None:
        asked = {"text": "x", "sampling_params": ENDLESS, "stream": chance.random() < 0.5}
        try:
            async with asyncio.timeout(chance.random() / 2):
                await client.post("/generate", json=asked)
        except TimeoutError:
            pass

    async def stay(client: httpx.AsyncClient) -> str:
        asked = {"text": "abc", "sampling_params": {**GREEDY, "max_new_tokens": 40}}
        return str((await client.post("/generate", json=asked)).json()["text"])

    async def storm() -> list[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=web.url, timeout=stretch(120), limits=limits) as client:
            stayed, _ = await asyncio.gather(
                asyncio.gather(*(stay(client) for _ in range(5))), asyncio.gather(*(hang_up(client) for _ in range(80)))
            )
            return stayed

    assert asyncio.run(storm()) == [expected] * 5
    web.wait_until_idle()


def test_more_clients_than_it_takes_are_told_to_come_later(web: Web) -> None:
    async def crowd() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=web.url, timeout=stretch(120), limits=limits) as client:
            asked = {"text": "a", "sampling_params": {**GREEDY, "max_new_tokens": 60}}
            found = await asyncio.gather(*(client.post("/generate", json=asked) for _ in range(400)))
            return [response.status_code for response in found]

    statuses = asyncio.run(crowd())
    assert set(statuses) == {200, 429}
    web.wait_until_idle()


def test_health_and_metrics_tell_the_truth_while_it_runs(web: Web) -> None:
    web.wait_until_idle()
    assert web.get("/health").json() == {"status": "ok"}
    before = metrics(web)
    assert (before["ringproof:up"], before["sglang:num_running_reqs"]) == (1, 0)
    web.post("/generate", text="abc", sampling_params=GREEDY)
    after = metrics(web)
    assert after["sglang:generation_tokens_total"] - before["sglang:generation_tokens_total"] == 6
    assert after["sglang:prompt_tokens_total"] - before["sglang:prompt_tokens_total"] == 3
    asked = {"text": ["a"] * 40, "sampling_params": ENDLESS, "stream": True}
    with web.client.stream("POST", "/generate", json=asked) as response:
        lines = response.iter_lines()  # closes the connection once it is collected
        next(lines)
        busy = metrics(web)
    assert busy["sglang:num_running_reqs"] == 32
    assert busy["sglang:num_queue_reqs"] == 8
    assert busy["ringproof:open_http_requests"] == 1
    web.wait_until_idle()


def test_unknown_paths_and_methods_are_refused_in_the_same_form(web: Web) -> None:
    for response, status in ((web.get("/nowhere"), 404), (web.get("/generate"), 405), (web.post("/health"), 405)):
        assert response.status_code == status
        assert response.json()["error"]["code"] == status


def test_an_idle_server_makes_progress(web: Web) -> None:
    began = time.monotonic()
    wait_until(
        lambda: web.engine.stats().idle_seconds < time.monotonic() - began, what="no progress since the test began"
    )
