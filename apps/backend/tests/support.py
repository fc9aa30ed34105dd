"""What the tests are made of: roles as processes, a breakable network, a model endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx

from infinite_scribe.cancellation import end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

ENTRYPOINT = Path(__file__).parents[1] / "docker-entrypoint.sh"
T = TypeVar("T")

API_KEY = "sk-test-5ecret"
STOP_LIMIT = 2.0
# For what is bound to happen, on a machine as busy as may be.
PATIENCE = 60.0


_given_ports: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, another one each time.

    Until somebody listens on it, the kernel may offer a port again.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def through(url: str, port: int) -> str:
    """The same URL by way of a port on loopback."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}"))


async def until(condition: Callable[[], Awaitable[bool]], within: float = PATIENCE) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"did not happen within {within} s"
        await asyncio.sleep(0.05)


async def together(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Run side by side; when one fails, the others have ended before that is told."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]


def running() -> set[asyncio.Task[Any]]:
    """All tasks but the one that asks."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


class Role:
    """One role, started as the image starts it; what it does not stop by itself is killed."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        self.port = free_port()
        self._arguments = arguments
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        source = str(ENTRYPOINT.with_name("src"))
        self._environment = {"PATH": path, "PYTHONPATH": source, "PORT": str(self.port), **settings}
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=PATIENCE
        )
        self.output = self.errors = ""

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await until(self._listens)
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            ENTRYPOINT, *self._arguments, env=self._environment, stdout=pipe, stderr=pipe
        )
        # Read all along: a full pipe would block the process.
        reads = (self._read_output(), self._read_errors())
        self._reading = [asyncio.create_task(read) for read in reads]

    async def _read_output(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            self.output += line.decode()

    async def _read_errors(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            self.errors += line.decode()

    async def _listens(self) -> bool:
        assert self._process.returncode is None, f"ended early: {self.output}{self.errors}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    async def wait(self) -> int:
        """The exit status, once there is one."""
        _, pending = await asyncio.wait(self._reading, timeout=PATIENCE)
        assert not pending, f"its output did not end within {PATIENCE} s"
        for read in self._reading:
            read.result()
        return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop, as it must: in time and with status 0."""
        begun = time.monotonic()
        self._process.send_signal(number)
        status = await self.wait()
        assert status == 0, self.output
        assert time.monotonic() - begun < STOP_LIMIT, self.output

    async def kill(self) -> None:
        await self.http.aclose()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        try:
            await self.wait()
        finally:
            await end(self._reading)

    def events(self) -> list[dict[str, Any]]:
        """The log of a process that has ended: every line of it is one JSON object."""
        return [json.loads(line) for line in self.output.splitlines()]

    async def health(self) -> tuple[int, dict[str, Any]]:
        response = await self.http.get("/health")
        return response.status_code, response.json()

    async def is_healthy(self) -> bool:
        return (await self.health())[0] == 200


class Link:
    """A way to a server that can be cut: connections break and new ones are refused."""

    def __init__(self, url: str, default_port: int) -> None:
        target = urlsplit(url)
        self._target = (target.hostname, target.port or default_port)
        self._port = free_port()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[Any]] = set()
        self.url = through(url, self._port)

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)

    async def cut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await end(self._relays)

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay
        self._relays.add(relay)
        ends = {writer}
        self._writers |= ends
        try:
            with contextlib.suppress(OSError):  # nobody is there
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                ends.add(far_writer)
                self._writers |= ends
                await together(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for one in ends:
                one.close()
            self._writers -= ends
            self._relays.discard(relay)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()


def completion(text: str | None) -> bytes:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


class Call(NamedTuple):
    """A request as the endpoint has seen it."""

    path: str
    authorization: str | None
    body: dict[str, Any]

    @property
    def system(self) -> str:
        return str(self.body["messages"][0]["content"])

    @property
    def user(self) -> str:
        return str(self.body["messages"][1]["content"])


class ModelEndpoint:
    """An HTTP server that speaks the chat completions protocol.

    It answers with the system prompt that it was given, unless `script` holds a function for a
    marker within the instruction: that one gets the number of the call, from 1, and may block.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: dict[str, Callable[[int], tuple[int, bytes]]] = {}
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                call = Call(self.path, self.headers["authorization"], json.loads(content))
                endpoint.calls.append(call)
                status, body = endpoint.answer(call)
                with contextlib.suppress(ConnectionError):  # the caller may have gone
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()

    def about(self, marker: str) -> list[Call]:
        """The calls whose instruction contains a marker."""
        return [call for call in self.calls if marker in call.user]

    def answer(self, call: Call) -> tuple[int, bytes]:
        for marker, play in self.script.items():
            if marker in call.user:
                return play(len(self.about(marker)))
        return 200, completion(call.system)
