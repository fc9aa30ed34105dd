"""Novels, tasks and agents over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from infinite_scribe.agents import AGENTS

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Desk
    from tests.support import Role


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert list(body) == ["error"]
    return response.status_code, body["error"]["code"], body["error"]["message"]


async def test_a_novel_is_created_read_listed_and_deleted(gateway: Role) -> None:
    created = await gateway.http.post(
        "/api/v1/novels", json={"title": "  Dune 沙丘 ", "premise": "Sand."}
    )
    assert created.status_code == 201
    novel = created.json()
    assert (novel["title"], novel["premise"]) == ("Dune 沙丘", "Sand.")
    age = datetime.now(UTC) - datetime.fromisoformat(novel["created_at"])
    assert abs(age) < timedelta(minutes=1)

    url = f"/api/v1/novels/{novel['id']}"
    assert (await gateway.http.get(url)).json() == novel
    assert novel in (await gateway.http.get("/api/v1/novels")).json()["items"]

    deleted = await gateway.http.delete(url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert error_of(await gateway.http.get(url))[:2] == (404, "not_found")
    assert error_of(await gateway.http.delete(url))[:2] == (404, "not_found")


async def test_lists_are_limited_and_newest_first(gateway: Role, desk: Desk) -> None:
    for title in ("first", "second", "third"):
        await gateway.http.post("/api/v1/novels", json={"title": title})
    novels = (await gateway.http.get("/api/v1/novels", params={"limit": 2})).json()["items"]
    assert [novel["title"] for novel in novels] == ["third", "second"]

    # No runner of this agent exists yet or ever minds: what counts is the order.
    ids = [await desk.order("outliner", str(number)) for number in range(3)]
    url = f"/api/v1/novels/{desk.novel['id']}/tasks"
    tasks = (await gateway.http.get(url, params={"limit": 2})).json()["items"]
    assert [task["id"] for task in tasks] == [ids[2], ids[1]]


async def test_a_new_task_is_queued(gateway: Role, desk: Desk) -> None:
    response = await gateway.http.post(
        f"/api/v1/novels/{desk.novel['id']}/tasks",
        json={"agent": "outliner", "instruction": "Three acts."},
    )
    assert response.status_code == 201
    task = response.json()
    assert task == await desk.task(task["id"])
    assert task["created_at"] == task["updated_at"]
    del task["id"], task["created_at"], task["updated_at"]
    assert task == {
        "novel_id": desk.novel["id"],
        "agent": "outliner",
        "instruction": "Three acts.",
        "status": "queued",
        "result": None,
        "error": None,
    }


async def test_the_tasks_go_with_their_novel(gateway: Role, desk: Desk) -> None:
    task = await desk.order("outliner", "Never mind.")
    await gateway.http.delete(f"/api/v1/novels/{desk.novel['id']}")
    assert (await gateway.http.get(f"/api/v1/tasks/{task}")).status_code == 404


async def test_agents_are_listed(gateway: Role) -> None:
    agents = (await gateway.http.get("/api/v1/agents")).json()["items"]
    assert [agent["name"] for agent in agents] == [
        "worldsmith",
        "plotmaster",
        "outliner",
        "director",
        "characterexpert",
        "worldbuilder",
        "writer",
        "critic",
        "factchecker",
        "rewriter",
    ]
    assert all(agent["title"] for agent in agents)


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": " \n "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": 7}, "title"),
        ({"title": "NUL \0"}, "title"),
        ({"title": "x", "premise": "x" * 4001}, "premise"),
        ({"title": "x", "premise": "\0"}, "premise"),
        ([], "body"),
    ],
)
async def test_a_bad_novel_is_refused(gateway: Role, draft: object, field: str) -> None:
    status, code, message = error_of(await gateway.http.post("/api/v1/novels", json=draft))
    assert (status, code) == (422, "validation_error")
    assert message.startswith(f"{field}: ")


async def test_limits_of_length_are_inclusive(gateway: Role, desk: Desk) -> None:
    draft = {"title": "x" * 200, "premise": "x" * 4000}
    assert (await gateway.http.post("/api/v1/novels", json=draft)).json()["title"] == "x" * 200
    task = await desk.order("outliner", "x" * 4000)
    assert (await desk.task(task))["instruction"] == "x" * 4000


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ({"agent": "writer"}, "instruction"),
        ({"agent": "writer", "instruction": "  "}, "instruction"),
        ({"agent": "writer", "instruction": "x" * 4001}, "instruction"),
        ({"instruction": "x"}, "agent"),
        ({"agent": "ghostwriter", "instruction": "x"}, "agent"),
    ],
)
async def test_a_bad_task_is_refused(
    gateway: Role, desk: Desk, draft: dict[str, str], field: str
) -> None:
    url = f"/api/v1/novels/{desk.novel['id']}/tasks"
    status, code, message = error_of(await gateway.http.post(url, json=draft))
    assert (status, code) == (422, "validation_error")
    assert message.startswith(f"{field}: ")
    assert (await gateway.http.get(url)).json() == {"items": []}


async def test_an_unknown_agent_is_answered_with_the_known(gateway: Role, desk: Desk) -> None:
    url = f"/api/v1/novels/{desk.novel['id']}/tasks"
    draft = {"agent": "ghostwriter", "instruction": "x"}
    message = error_of(await gateway.http.post(url, json=draft))[2]
    assert all(name in message for name in AGENTS)


async def test_what_does_not_exist_is_not_found(gateway: Role) -> None:
    missing = uuid4()
    draft = {"agent": "writer", "instruction": "x"}
    answers = [
        await gateway.http.get(f"/api/v1/novels/{missing}"),
        await gateway.http.get(f"/api/v1/novels/{missing}/tasks"),
        await gateway.http.post(f"/api/v1/novels/{missing}/tasks", json=draft),
        await gateway.http.get(f"/api/v1/tasks/{missing}"),
        await gateway.http.get("/api/v1/nothing"),
    ]
    assert {error_of(answer)[:2] for answer in answers} == {(404, "not_found")}


async def test_requests_that_make_no_sense_get_an_error_body(gateway: Role) -> None:
    assert error_of(await gateway.http.get("/api/v1/novels/7"))[0] == 422
    assert error_of(await gateway.http.get("/api/v1/novels?limit=0"))[0] == 422
    assert error_of(await gateway.http.get("/api/v1/novels?limit=201"))[0] == 422
    patched = await gateway.http.patch("/api/v1/novels")
    assert error_of(patched)[:2] == (405, "method_not_allowed")
    assert "GET" in patched.headers["allow"]
    headers = {"content-type": "application/json"}
    for content in (b"{", rb'{"title": "\ud800"}'):
        broken = await gateway.http.post("/api/v1/novels", content=content, headers=headers)
        assert error_of(broken)[:2] == (422, "validation_error")
