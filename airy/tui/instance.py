"""The instance that a client on this machine talks to: its URL and its token."""

from collections.abc import Sequence

from airy.config import Config, data_directory
from airy.secret import Secret
from airy.token_file import TOKEN_FILE, entered_token, read_token

DEMO = "demo"  # the data directory of `airy demo`, below the configured one

UrlAndToken = tuple[str, Secret | None]


def instances(config: Config, urls: Sequence[str], token: str | None) -> list[UrlAndToken]:
    """These URLs, or the configured instance."""
    return [instance(config, url, token) for url in urls] or [instance(config, None, token)]


def instance(config: Config, url: str | None, token: str | None) -> UrlAndToken:
    """Its URL and token. The configured token is never sent to another URL."""
    given = entered_token(token, "the token") if token else None
    if url:
        return url, given
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.http.host, config.http.host)  # noqa: S104
    local = f"http://{f'[{host}]' if ':' in host else host}:{config.http.port}"
    return local, given or _known_token(config)


def _known_token(config: Config) -> Secret | None:
    if config.security.open or config.security.system_token:
        return config.security.system_token
    directory = data_directory(config)
    files = (directory / TOKEN_FILE, directory / DEMO / TOKEN_FILE)
    return next((read_token(file) for file in files if file.exists()), None)
