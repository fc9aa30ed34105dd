"""Settings, read once from the environment, so that every wrong value is reported at the start."""

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class InvalidSettingsError(Exception):
    """Names each wrong variable and what was expected, in one line and without its value."""


def _url(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    expected = f"expected a URL {' or '.join(f'{scheme}://host' for scheme in schemes)}"

    def check(value: SecretStr) -> SecretStr:
        try:
            url = urlsplit(value.get_secret_value())
            valid = url.scheme in schemes and url.hostname and url.port != 0
        except ValueError:  # a port that is no port, a broken IPv6 address
            valid = False
        if not valid:
            raise ValueError(expected)
        return value

    return check


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value().strip()  # a key read from a file often ends with a newline
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("expected printable ASCII without spaces")
    return SecretStr(token)


# All three may carry a password, hence secret: they never show in a log or a traceback.
PostgresUrl = Annotated[SecretStr, AfterValidator(_url("postgresql", "postgres"))]
RedisUrl = Annotated[SecretStr, AfterValidator(_url("redis", "rediss"))]
HttpUrl = Annotated[SecretStr, AfterValidator(_url("http", "https"))]
LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """One field per variable; an empty variable counts as absent, as Compose passes it."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: PostgresUrl | None = None
    redis_url: RedisUrl | None = None
    port: int = Field(8000, ge=1, le=65535)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = "info"
    log_format: Annotated[Literal["json", "console"], LowerCase] = "json"

    llm_base_url: HttpUrl | None = None
    llm_api_key: Annotated[SecretStr, AfterValidator(_token)] | None = None
    llm_model: str = "gpt-4o-mini"
    llm_timeout_seconds: float = Field(120, gt=0, le=3600)
    llm_max_retries: int = Field(2, ge=0, le=10)

    task_lease_seconds: float = Field(30, ge=1, le=3600)
    task_max_attempts: int = Field(3, ge=1, le=100)
    task_stream_prefix: str = "infinite-scribe:tasks"


def load() -> Settings:
    """Read the environment."""
    try:
        return Settings()
    except ValidationError as error:
        faults = (
            f"{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise InvalidSettingsError("; ".join(faults)) from None


def reveal(secret: SecretStr | None) -> str | None:
    """The text of a secret that may be absent."""
    return None if secret is None else secret.get_secret_value()
