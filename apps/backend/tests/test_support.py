"""What the tests are made of leaves nothing behind, whatever goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import Link, Role, free_port, running, together, until


async def fail() -> None:
    await asyncio.sleep(0)
    raise LookupError


async def test_one_that_fails_ends_the_others() -> None:
    before = running()
    with pytest.raises(ExceptionGroup) as caught:
        await together(asyncio.sleep(600), fail(), asyncio.sleep(600))
    assert caught.group_contains(LookupError)
    assert running() == before


async def test_a_link_that_is_cut_relays_no_more() -> None:
    before = running()
    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        lambda _, writer: asked.append(writer), "127.0.0.1", 0
    )  # accepts, and answers nothing
    port = server.sockets[0].getsockname()[1]
    link = Link(f"redis://127.0.0.1:{port}", port)

    async def is_through() -> bool:
        return bool(asked)

    async with link:
        _, writer = await asyncio.open_connection("127.0.0.1", int(link.url.rpartition(":")[2]))
        await until(is_through)
        assert running() > before
    assert running() == before
    for one in (writer, *asked):
        one.close()
    server.close()


async def test_a_link_to_nobody_relays_nothing() -> None:
    before = running()
    async with Link(f"redis://127.0.0.1:{free_port()}", 0) as link:
        port = int(link.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"", "it is told that nobody is there"
        writer.close()
    assert running() == before


async def test_a_role_that_does_not_come_up_is_gone() -> None:
    before = running()
    role = Role("agent-ghost")
    with pytest.raises(AssertionError, match="ended early"):
        async with role:
            pass
    assert running() == before
    assert role.http.is_closed
