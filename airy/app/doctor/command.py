"""`airy doctor`: gathers, decides, and returns the results for printing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog

from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.examination import Examined, examine
from airy.app.doctor.gather import Question, gather
from airy.app.doctor.gather_machine import read_config
from airy.clock import SystemClock
from airy.egress import UNRESTRICTED
from airy.http_client import HttpClient
from airy.http_client_aiohttp import AiohttpClient

OpenHttp = Callable[[], AbstractAsyncContextManager[HttpClient]]


async def examine_installation(
    file: Path | None, env: Mapping[str, str], url: str | None, token: str | None, open_http: OpenHttp | None = None
) -> list[Examined]:
    """Clients log what they meet; here it becomes a finding, so logging is off."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    question = Question(config=read_config(file, env), url=url, token=token, env=env)
    async with open_http() if open_http else AiohttpClient(UNRESTRICTED) as http:
        return examine(CHECKS, await gather(question, http, SystemClock()))
