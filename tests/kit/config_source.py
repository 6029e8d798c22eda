"""A configuration whose file is a text in memory."""

from collections.abc import Mapping
from pathlib import Path

from airy.config import Config
from airy.live_config.source import ConfigSource
from airy.secret import Secret


class MemoryConfigSource(ConfigSource):
    """`text`: of the file; None: there is none. `secrets`: what was kept, by the path of the file."""

    def __init__(
        self, text: str | None = None, env: Mapping[str, str] = {}, *, directory: Path = Path("/nowhere")
    ) -> None:
        super().__init__(directory / "airy.yaml", env)
        self.text = text
        self.previous: str | None = None
        self.kept: dict[str, str] = {}
        self.refusal = ""

    def read(self) -> str | None:
        return self.text

    def config_of(self, text: str | None, more: Mapping[str, str] = {}) -> Config:
        return super().config_of(text, {**self.kept, **more})

    def unwritable(self) -> str:
        return self.refusal

    def write(self, text: str, present: str | None, config: Config) -> None:
        self.text, self.previous = text, present

    def restore(self, text: str | None) -> None:
        self.text = text

    def keep_secret(self, config: Config, path: str, secret: Secret) -> str:
        name = f"KEPT_{len(self.kept)}"
        self.kept[name] = secret.reveal()
        return f"env:{name}"
