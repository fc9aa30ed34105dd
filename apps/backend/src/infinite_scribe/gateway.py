"""The HTTP API of novels and their tasks."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Generic, Literal, TypeVar, cast
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from starlette.exceptions import HTTPException
from starlette.routing import Route

from infinite_scribe.agents import AGENTS
from infinite_scribe.dependencies import Redis, UnavailableError
from infinite_scribe.health import PATHS, Health
from infinite_scribe.store import Store
from infinite_scribe.streams import TaskQueue

Item = TypeVar("Item")
Found = TypeVar("Found")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


def _known(agent: str) -> str:
    if agent not in AGENTS:
        raise ValueError(f"unknown agent, expected one of {', '.join(AGENTS)}")
    return agent


NonBlank = StringConstraints(strip_whitespace=True, min_length=1)
Storable = AfterValidator(_storable)
Limit = Annotated[int, Query(ge=1, le=200)]


class NovelDraft(BaseModel):
    """What a client says of a new novel."""

    title: Annotated[str, NonBlank, Field(max_length=200), Storable]
    premise: Annotated[str, Field(max_length=4000), Storable] = ""


class Novel(BaseModel):
    """A novel."""

    id: UUID
    title: str
    premise: str
    created_at: datetime


class TaskDraft(BaseModel):
    """What a client says of a new task."""

    agent: Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*AGENTS]})]
    instruction: Annotated[str, NonBlank, Field(max_length=4000), Storable]


class Task(BaseModel):
    """A task of one agent for one novel."""

    id: UUID
    novel_id: UUID
    agent: str
    instruction: str
    status: Literal["queued", "running", "succeeded", "failed"]
    result: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class AgentInfo(BaseModel):
    """An agent that can be given tasks."""

    name: str
    title: str


class Items(BaseModel, Generic[Item]):
    """A list, in an object that can grow."""

    items: list[Item]


# What the handlers work with: made by the service, carried by the application.


async def _get_store(request: Request) -> Store:
    return cast("Store", request.app.state.store)


async def _get_queues(request: Request) -> Mapping[str, TaskQueue]:
    return cast("Mapping[str, TaskQueue]", request.app.state.queues)


TheStore = Annotated[Store, Depends(_get_store)]
TheQueues = Annotated[Mapping[str, TaskQueue], Depends(_get_queues)]

router = APIRouter(prefix="/api/v1")


@router.get("/agents")
async def list_agents() -> Items[AgentInfo]:
    """List the agents."""
    return Items(items=[AgentInfo(name=it.name, title=it.title) for it in AGENTS.values()])


@router.get("/novels")
async def list_novels(store: TheStore, limit: Limit = 50) -> Items[Novel]:
    """List the newest novels."""
    return Items(items=[Novel(**row) for row in await store.novels(limit)])


@router.post("/novels", status_code=HTTPStatus.CREATED)
async def create_novel(draft: NovelDraft, store: TheStore) -> Novel:
    """Create a novel."""
    return Novel(**await store.add_novel(draft.title, draft.premise))


@router.get("/novels/{novel_id}")
async def get_novel(novel_id: UUID, store: TheStore) -> Novel:
    """Read a novel."""
    return Novel(**_found("novel", novel_id, await store.novel(novel_id)))


@router.delete("/novels/{novel_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_novel(novel_id: UUID, store: TheStore) -> None:
    """Delete a novel and its tasks."""
    _found("novel", novel_id, await store.remove_novel(novel_id))


@router.get("/novels/{novel_id}/tasks")
async def list_tasks(novel_id: UUID, store: TheStore, limit: Limit = 50) -> Items[Task]:
    """List the newest tasks of a novel."""
    _found("novel", novel_id, await store.novel(novel_id))
    return Items(items=[Task(**row) for row in await store.tasks(novel_id, limit)])


@router.post("/novels/{novel_id}/tasks", status_code=HTTPStatus.CREATED)
async def create_task(novel_id: UUID, draft: TaskDraft, store: TheStore, queues: TheQueues) -> Task:
    """Queue a task for an agent."""
    row = await store.add_task(novel_id, draft.agent, draft.instruction)
    task = Task(**_found("novel", novel_id, row))
    # The row is committed before it is announced, never the reverse: a runner must find it.
    # Should the announcement fail, the row is withdrawn and the client told. Should we die in
    # between, or the withdrawal fail as well, the agents still find the row by themselves once
    # it is overdue: a task may run that nobody waits for, but none is ever lost.
    try:
        await queues[task.agent].announce(task.id)
    except UnavailableError:
        if await store.withdraw_task(task.id):
            raise
    return task


@router.get("/tasks/{task_id}")
async def get_task(task_id: UUID, store: TheStore) -> Task:
    """Read a task."""
    return Task(**_found("task", task_id, await store.task(task_id)))


def _found(kind: str, identifier: UUID, it: Found | None) -> Found:
    if not it:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no {kind} {identifier}")
    return it


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _on_unavailable(_: Request, error: UnavailableError) -> JSONResponse:
    code = f"{error.dependency}_unavailable"
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, code, str(error))


async def _on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    # The first part of a location says body, path or query; clients know what they sent.
    faults = (
        f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )
    return _error(HTTPStatus.UNPROCESSABLE_ENTITY, "validation_error", "; ".join(faults))


async def _on_http_error(_: Request, error: HTTPException) -> JSONResponse:
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    response = _error(error.status_code, code, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _on_defect(_: Request, __: Exception) -> JSONResponse:
    # The server logs the traceback; clients learn nothing of our insides.
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "internal server error")


def create_app(store: Store, redis: Redis, prefix: str, health: Health) -> FastAPI:
    """Build the application."""
    app = FastAPI(
        title="Infinite Scribe",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            UnavailableError: _on_unavailable,
            RequestValidationError: _on_invalid,
            HTTPException: _on_http_error,
            Exception: _on_defect,
        },
    )
    app.state.store = store
    app.state.queues = {agent: TaskQueue(redis, prefix, agent) for agent in AGENTS}
    app.router.routes.extend(Route(path, health) for path in PATHS)
    app.include_router(router)
    return app
