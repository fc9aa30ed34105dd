"""The language model, behind any endpoint that speaks OpenAI's chat completions protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog

from infinite_scribe.dependencies import backoff, describe
from infinite_scribe.settings import reveal

if TYPE_CHECKING:
    from infinite_scribe.settings import Settings

_TRANSIENT_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})

log = structlog.get_logger(__name__)


class ModelError(Exception):
    """Why there is no completion, in words for whoever reads the task."""


class TransientModelError(ModelError):
    """The same request may well succeed a moment later."""


class ChatModel:
    """A client of the configured endpoint."""

    def __init__(self, settings: Settings) -> None:
        self._url = reveal(settings.llm_base_url)
        self._key = reveal(settings.llm_api_key)
        self._model = settings.llm_model
        self._timeout = settings.llm_timeout_seconds
        self._retries = settings.llm_max_retries
        self._client: httpx.AsyncClient | None = None

    async def complete(self, system: str, user: str, temperature: float) -> str:
        """The model's answer; transient failures are retried a bounded number of times."""
        request = {
            "model": self._model,
            "temperature": temperature,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ],
        }
        delays = backoff(0.5)
        for retry in range(self._retries + 1):
            try:
                return await self._request(request)
            except TransientModelError as error:
                if retry == self._retries:
                    raise
                log.warning("model call failed, retrying", reason=str(error), retry=retry + 1)
                await asyncio.sleep(next(delays))
        raise AssertionError  # the last round of the loop returns or raises

    async def _request(self, request: dict[str, Any]) -> str:
        if not self._url:
            raise ModelError("no model endpoint is configured: set LLM_BASE_URL")
        if not self._client:  # Made on first use: loading the trusted certificates takes time.
            headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
            self._client = httpx.AsyncClient(timeout=self._timeout, headers=headers)
        try:
            # httpx limits each read, but a body may drip for ever: this limits the whole call.
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(
                    f"{self._url.rstrip('/')}/chat/completions", json=request
                )
        except TimeoutError as error:
            raise TransientModelError(
                f"the model endpoint did not answer within {self._timeout:g} s"
            ) from error
        except httpx.TransportError as error:
            raise TransientModelError(
                f"the model endpoint cannot be reached: {describe(error)}"
            ) from error
        if response.status_code in _TRANSIENT_STATUS:
            raise TransientModelError(self._refusal(response))
        if response.status_code != httpx.codes.OK:
            raise ModelError(self._refusal(response))
        return _text(response)

    def _refusal(self, response: httpx.Response) -> str:
        excerpt = " ".join(response.text.split())
        if self._key:  # Some endpoints quote the key that they reject.
            excerpt = excerpt.replace(self._key, "***")
        return f"the model endpoint answered {response.status_code}: {excerpt[:200]}"


def _text(response: httpx.Response) -> str:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError("the model endpoint's answer is no chat completion") from error
    if not isinstance(content, str) or not content.strip():
        raise ModelError("the model endpoint's answer holds no text")
    # Postgres' text holds neither NUL nor half a surrogate pair; JSON may bring both.
    return content.replace("\0", "").encode(errors="replace").decode()
