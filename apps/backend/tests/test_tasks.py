"""Tasks on their way through the stream, an agent, the model endpoint and back."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from infinite_scribe.agents import AGENTS
from tests.support import (
    API_KEY,
    Link,
    ModelEndpoint,
    Role,
    completion,
    free_port,
    together,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Backing, Desk

Settings = dict[str, str]


@pytest.fixture(scope="module")
async def writer(agent_settings: Settings) -> AsyncIterator[Role]:
    async with Role("agent-writer", **agent_settings) as role:
        yield role
        await role.stop()
    assert API_KEY not in role.output + role.errors


@pytest.mark.usefixtures("writer")
async def test_a_task_is_done(desk: Desk, model: ModelEndpoint) -> None:
    task = await desk.outcome(await desk.order("writer", "Describe the storm."))

    prompt = AGENTS["writer"].prompt
    assert (task["status"], task["result"], task["error"]) == ("succeeded", prompt, None)
    assert task["updated_at"] > task["created_at"]
    (call,) = model.about("Describe the storm.")
    assert call.path == "/v1/chat/completions"
    assert call.authorization == f"Bearer {API_KEY}"
    assert call.body["model"] == "test-model"
    assert call.body["temperature"] == AGENTS["writer"].temperature
    assert [message["role"] for message in call.body["messages"]] == ["system", "user"]
    assert desk.novel["title"] in call.user
    assert desk.novel["premise"] in call.user


async def test_every_agent_does_its_work(desk: Desk, agent_settings: Settings) -> None:
    # Ten at once on a busy machine: what counts is not how long it takes.
    settings = agent_settings | {"LLM_TIMEOUT_SECONDS": "600"}

    async def work(name: str) -> None:
        async with Role(f"agent-{name}", **settings) as role:
            assert (await role.health())[1]["role"] == f"agent-{name}"
            task = await desk.outcome(await desk.order(name, "Your part, please."))
            assert (task["agent"], task["result"]) == (name, AGENTS[name].prompt)
            await role.stop()

    assert len({agent.prompt for agent in AGENTS.values()}) == 10
    await together(*map(work, AGENTS))


async def test_without_an_endpoint_a_task_fails_and_says_what_to_set(
    desk: Desk, backing: Backing
) -> None:
    task = await desk.order("critic", "Be harsh.")
    async with Role("agent-critic", **backing.settings):
        outcome = await desk.outcome(task)
    assert (outcome["status"], outcome["result"]) == ("failed", None)
    assert "set LLM_BASE_URL" in outcome["error"]


async def test_an_endpoint_that_is_away_fails_the_task(
    desk: Desk, agent_settings: Settings
) -> None:
    task = await desk.order("critic", "Be kind.")
    closed = {"LLM_BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    async with Role("agent-critic", **(agent_settings | closed)) as role:
        outcome = await desk.outcome(task)
        await role.stop()
    assert outcome["status"] == "failed"
    assert outcome["error"] == "the model endpoint cannot be reached: connection refused"
    assert [it["retry"] for it in role.events() if "retrying" in it["event"]] == [1]


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(
    ("answer", "calls", "error"),
    [
        ((500, b"out of\norder"), 2, "answered 500: out of order"),
        ((429, b"slow down"), 2, "answered 429: slow down"),
        ((401, f"no such key: {API_KEY}".encode()), 1, "answered 401: no such key: ***"),
        ((302, b""), 1, "answered 302"),
        ((200, b"<html>"), 1, "no chat completion"),
        ((200, b'{"choices": []}'), 1, "no chat completion"),
        ((200, b'["choices"]'), 1, "no chat completion"),
        ((200, completion(None)), 1, "holds no text"),
        ((200, completion("  ")), 1, "holds no text"),
    ],
)
async def test_an_endpoint_that_errs_fails_the_task(
    desk: Desk, model: ModelEndpoint, answer: tuple[int, bytes], calls: int, error: str
) -> None:
    marker = f"[{answer!r}]"
    model.script[marker] = lambda _: answer
    task = await desk.outcome(await desk.order("writer", marker))
    assert (task["status"], task["result"]) == ("failed", None)
    assert error in task["error"]
    assert len(model.about(marker)) == calls


@pytest.mark.usefixtures("writer")
async def test_an_endpoint_that_is_too_slow_fails_the_task(
    desk: Desk, model: ModelEndpoint
) -> None:
    with blocked(model, "[slow]"):
        task = await desk.outcome(await desk.order("writer", "[slow]"))
    assert task["error"] == "the model endpoint did not answer within 1 s"
    assert len(model.about("[slow]")) == 2


@pytest.mark.usefixtures("writer")
async def test_a_passing_error_is_survived(desk: Desk, model: ModelEndpoint) -> None:
    model.script["[flaky]"] = lambda call: (503, b"") if call == 1 else (200, completion("Once"))
    task = await desk.outcome(await desk.order("writer", "[flaky]"))
    assert (task["status"], task["result"]) == ("succeeded", "Once")


@pytest.mark.usefixtures("writer")
async def test_text_that_the_database_cannot_hold_is_mended(
    desk: Desk, model: ModelEndpoint
) -> None:
    model.script["[odd]"] = lambda _: (200, completion("a\0b\ud800c"))
    task = await desk.outcome(await desk.order("writer", "[odd]"))
    assert (task["status"], task["result"]) == ("succeeded", "ab?c")


@pytest.mark.usefixtures("writer")
async def test_malformed_entries_are_dropped(desk: Desk, backing: Backing) -> None:
    stream = backing.stream("writer")
    for field, value in ((b"x", b"y"), (b"task", b"no id"), (b"task", b"\xff"), (b"\xff", b"")):
        await backing.redis.xadd(stream, {field: value})
    task = await desk.outcome(await desk.order("writer", "Go on."))
    assert task["status"] == "succeeded"
    await until(lambda: is_drained(backing, "writer"))


@pytest.mark.usefixtures("writer")
async def test_a_finished_task_is_not_run_again(
    desk: Desk, model: ModelEndpoint, backing: Backing
) -> None:
    first = await desk.outcome(await desk.order("writer", "[once]"))
    for _ in range(3):
        await backing.redis.xadd(backing.stream("writer"), {"task": first["id"]})
    await until(lambda: is_drained(backing, "writer"))
    assert len(model.about("[once]")) == 1
    assert await desk.task(first["id"]) == first


@pytest.mark.usefixtures("writer")
async def test_a_task_whose_announcement_was_lost_is_found(desk: Desk, backing: Backing) -> None:
    task = await unannounced(backing, desk, "writer", "[unannounced]")
    assert (await desk.outcome(task))["status"] == "succeeded"


@pytest.mark.usefixtures("writer")
async def test_a_stream_that_vanished_is_made_again(desk: Desk, backing: Backing) -> None:
    await backing.redis.delete(backing.stream("writer"))
    task = await desk.outcome(await desk.order("writer", "After the flood."))
    assert task["status"] == "succeeded"


@pytest.mark.usefixtures("writer")
async def test_a_task_that_kills_its_runners_is_given_up(desk: Desk, backing: Backing) -> None:
    task = await unannounced(backing, desk, "writer", "[deadly]")
    await backing.postgres.execute(
        "UPDATE tasks SET status = 'running', attempts = 3, leased_until = now() WHERE id = $1",
        UUID(task),
    )
    outcome = await desk.outcome(task)
    assert (outcome["status"], outcome["error"]) == (
        "failed",
        "given up: 3 runners died on this task",
    )


@pytest.mark.usefixtures("writer")
async def test_a_task_deleted_under_way_does_not_stop_the_runner(
    desk: Desk, model: ModelEndpoint
) -> None:
    with blocked(model, "[deleted]"):
        await desk.reaches(await desk.order("writer", "[deleted]"), "running")
        await desk.gateway.http.delete(f"/api/v1/novels/{desk.novel['id']}")
    draft = {"title": "Next"}
    novel = (await desk.gateway.http.post("/api/v1/novels", json=draft)).json()
    desk = type(desk)(desk.gateway, novel)
    assert (await desk.outcome(await desk.order("writer", "Next.")))["status"] == "succeeded"


async def test_a_stopped_runner_hands_its_task_back(
    desk: Desk, model: ModelEndpoint, agent_settings: Settings, backing: Backing
) -> None:
    # A lease so long that only a hand-over can explain that the second runner gets the task.
    settings = agent_settings | {"TASK_LEASE_SECONDS": "600", "LLM_TIMEOUT_SECONDS": "600"}
    with blocked(model, "[handed back]", calls=1):
        async with Role("agent-director", **settings) as first:
            task = await desk.order("director", "[handed back]")
            await until(lambda: is_called(model, "[handed back]"))
            await first.stop()
        assert (await desk.task(task))["status"] == "queued"
        async with Role("agent-director", **settings) as second:
            assert (await desk.outcome(task))["status"] == "succeeded"
            await until(lambda: is_drained(backing, "director"))
            await second.stop()
    assert len(model.about("[handed back]")) == 2


async def test_a_killed_runner_loses_its_task_to_another(
    desk: Desk, model: ModelEndpoint, agent_settings: Settings, backing: Backing
) -> None:
    settings = agent_settings | {"LLM_TIMEOUT_SECONDS": "600"}
    with blocked(model, "[killed]", calls=1):
        async with Role("agent-director", **settings) as first:
            task = await desk.order("director", "[killed]")
            await until(lambda: is_called(model, "[killed]"))
            await first.kill()
        async with Role("agent-director", **settings):
            assert (await desk.outcome(task))["status"] == "succeeded"
            await until(lambda: is_drained(backing, "director"))
    assert len(model.about("[killed]")) == 2


async def test_a_long_call_keeps_its_task_from_other_runners(
    desk: Desk, model: ModelEndpoint, agent_settings: Settings
) -> None:
    settings = agent_settings | {"LLM_TIMEOUT_SECONDS": "600", "TASK_LEASE_SECONDS": "2"}
    async with (
        Role("agent-director", **settings),
        Role("agent-director", **settings),
    ):
        with blocked(model, "[long]"):
            task = await desk.order("director", "[long]")
            await asyncio.sleep(3.2)  # more than a lease and a half
            assert (await desk.task(task))["status"] == "running"
        assert (await desk.outcome(task))["status"] == "succeeded"
    assert len(model.about("[long]")) == 1


async def test_a_result_outlives_an_outage_of_the_database(
    desk: Desk, model: ModelEndpoint, agent_settings: Settings, backing: Backing
) -> None:
    link = Link(backing.database_url, 5432)
    settings = agent_settings | {"DATABASE_URL": link.url, "LLM_TIMEOUT_SECONDS": "600"}
    await link.mend()
    async with Role("agent-director", **settings) as role:
        with blocked(model, "[outage]"):
            task = await desk.order("director", "[outage]")
            await desk.reaches(task, "running")
            await link.cut()
        assert (await role.health())[0] == 503
        await link.mend()
        assert (await desk.outcome(task))["status"] == "succeeded"
    await link.cut()
    assert len(model.about("[outage]")) == 1


@pytest.mark.parametrize("missing", ["postgres", "redis"])
async def test_a_task_that_cannot_be_queued_is_refused_and_not_kept(
    desk: Desk, backing: Backing, missing: str
) -> None:
    links = {
        "postgres": ("DATABASE_URL", Link(backing.database_url, 5432)),
        "redis": ("REDIS_URL", Link(backing.redis_url, 6379)),
    }
    variable, link = links[missing]
    url = f"/api/v1/novels/{desk.novel['id']}/tasks"
    draft = {"agent": "outliner", "instruction": "Lost?"}
    async with Role("api-gateway", **(backing.settings | {variable: link.url})) as gateway:
        refused = await gateway.http.post(url, json=draft)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == f"{missing}_unavailable"
        assert (await desk.gateway.http.get(url)).json() == {"items": []}
        async with link:
            assert (await gateway.http.post(url, json=draft)).status_code == 201


class blocked:  # noqa: N801 - reads as the context manager that it is
    """Hold the endpoint's answers to some instruction, all of them or the first few."""

    def __init__(self, model: ModelEndpoint, marker: str, calls: int | None = None) -> None:
        released = self._released = threading.Event()

        def play(call: int) -> tuple[int, bytes]:
            if calls is None or call <= calls:
                released.wait(20)
            return 200, completion("At last.")

        model.script[marker] = play

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._released.set()


async def is_called(model: ModelEndpoint, marker: str) -> bool:
    return bool(model.about(marker))


async def is_drained(backing: Backing, agent: str) -> bool:
    stream = backing.stream(agent)
    pending = await backing.redis.xpending(stream, "runners")
    return not pending["pending"] and not await backing.redis.xlen(stream)


async def unannounced(backing: Backing, desk: Desk, agent: str, instruction: str) -> str:
    """A task whose row was committed just before its gateway died."""
    task = await backing.postgres.fetchval(
        "INSERT INTO tasks (novel_id, agent, instruction) VALUES ($1, $2, $3) RETURNING id",
        UUID(desk.novel["id"]),
        agent,
        instruction,
    )
    return str(task)
