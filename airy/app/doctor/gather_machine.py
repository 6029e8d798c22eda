"""Gathers facts about the configuration file and this machine."""

import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from airy import config_file
from airy.app import files
from airy.app.doctor.check import NotGathered
from airy.app.doctor.facts import ConfigFacts, MachineFacts, PortFacts
from airy.app.doctor.listening import command_of, holder_of, try_listen
from airy.app.services import installation_name
from airy.config import Config, data_directory
from airy.config_document import InvalidConfig
from airy.config_secrets import secret_values
from airy.errors import Refused
from airy.seal import Sealer, load_or_create_key
from airy.tui.instance import DEMO

PACKAGE = "airy"
_ADDRESS = re.compile(r"[a-z]+://[^@]*")  # without user and password
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def read_config(file: Path | None, env: Mapping[str, str]) -> ConfigFacts:
    deprecated: list[str] = []
    mode, text = _file(file)
    try:
        config = config_file.load(file, env, warn=lambda sentence: deprecated.append(str(sentence)))
    except InvalidConfig as error:
        return ConfigFacts(file, problems=error.problems, deprecated=tuple(deprecated), mode=mode)
    inline = any(secret in text for secret in secret_values(config) if not _ADDRESS.fullmatch(secret))
    return ConfigFacts(file, deprecated=tuple(deprecated), mode=mode, secrets_in_file=inline, config=config)


def _file(file: Path | None) -> tuple[int, str]:
    if file is None:
        return 0, ""
    try:
        return file.stat().st_mode & 0o777, file.read_text("utf-8", "replace")
    except OSError:
        return 0, ""


def gather_machine(env: Mapping[str, str]) -> MachineFacts:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineFacts(
        python=sys.version_info[:2],
        missing_packages=tuple(_missing_packages()),
        open_files_max=soft if soft != resource.RLIM_INFINITY else sys.maxsize,
        open_files_hard_max=hard if hard != resource.RLIM_INFINITY else sys.maxsize,
        term=env.get("TERM", ""),
        encoding=(sys.stdout.encoding or "").lower(),
        terminal=sys.stdout.isatty(),
    )


def _missing_packages() -> list[str]:
    """Of those this package declares, without its extras; none if it is not installed as a package."""
    try:
        wanted = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    names = [found[0] for each in wanted if "extra ==" not in each and (found := _NAME.match(each))]
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def gather_port(config: Config) -> PortFacts | NotGathered:
    """Listens there for a moment. Without effect on a process that listens already."""
    host, port = config.http.host, config.http.port
    if port == 0:
        return NotGathered("http.port is 0: any free port")
    error = try_listen(host, port)
    holder = holder_of(port) if error else ""
    return PortFacts(
        host,
        port,
        error=error,
        holder=holder,
        holder_command=command_of(holder) if holder else "",
        known=frozenset(_installations(config)),
    )


def _installations(config: Config) -> Iterator[str]:
    """The names of the installation of this data directory, and of its demo."""
    demo = data_directory(config) / DEMO / files.sealing_key_path(config).name
    for path in (files.sealing_key_path(config), demo):
        with suppress(OSError, Refused):
            if path.is_file():
                yield installation_name(Sealer(load_or_create_key(path)))


def current_user() -> str:
    return user_name(os.geteuid())


def user_name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - not on every system

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
