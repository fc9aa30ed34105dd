"""The health endpoint: a bare ASGI application, since an agent serves nothing else and should
not pay for a web framework to do so."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from infinite_scribe.dependencies import OK, Dependency, check

PATHS = ("/health", "/api/v1/health")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Health:
    """Answers 200 when every dependency does, else 503 naming those that do not and why."""

    def __init__(self, role: str, dependencies: Sequence[Dependency]) -> None:
        self._role = role
        self._dependencies = dependencies

    async def report(self) -> dict[str, Any]:
        """Check all dependencies side by side."""
        async with asyncio.TaskGroup() as group:
            asked = {it.name: group.create_task(check(it)) for it in self._dependencies}
        checks = {name: task.result() for name, task in asked.items()}
        healthy = all(state == OK for state in checks.values())
        return {"status": OK if healthy else "unavailable", "role": self._role, "checks": checks}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Speak ASGI."""
        if scope["path"] in PATHS:
            body = await self.report()
            status = 200 if body["status"] == OK else 503
        else:
            body = {"error": {"code": "not_found", "message": "agents answer /health only"}}
            status = 404
        content = json.dumps(body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
