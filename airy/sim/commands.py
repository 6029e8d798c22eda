"""`airy sim …`: simulated providers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

META = ("messenger", "instagram", "whatsapp")

Command = Callable[..., int]


@click.group()
def sim() -> None:
    """Run simulated providers: real paths and answers, steered over HTTP. docs/simulators.md describes them."""


def _example(name: str) -> str:
    return f"Examples:\n\n$ airy sim {name} --target http://127.0.0.1:8080 --customers 3 --rough"


def _checked_target(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Raises `BadParameter`."""
    from airy.egress import UNRESTRICTED, check_url
    from airy.errors import Refused

    try:
        if given:
            check_url(given, UNRESTRICTED)
    except Refused as error:
        raise click.BadParameter(str(error)) from error
    return given


def _common(command: Command) -> Command:
    options = (
        click.option(
            "--target",
            metavar="URL",
            callback=_checked_target,
            help="origin that receives the webhooks, e.g. http://127.0.0.1:8080",
        ),
        click.option("--port", type=click.IntRange(0, 65_535), default=0, help="port of the API; default: a free one"),
        click.option("--customers", type=click.IntRange(0, 10_000), default=0, help="people who write by themselves"),
        click.option("--seed", type=int, default=0, help="seed of all random draws"),
        click.option("--rough", is_flag=True, help="inject faults: duplicates, reordering, lost responses, errors"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _meta(command: Command) -> Command:
    options = (
        click.option("--app-secret", envvar="FACEBOOK_APP_SECRET", help="app secret that signs webhooks"),
        click.option("--verify-token", envvar="FACEBOOK_WEBHOOK_SECRET", help="webhookSecret in the configuration"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _service_account(command: Command) -> Command:
    return click.option(
        "--service-account",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="JSON key of the service account, made if the file does not exist; default: a new one, printed",
    )(command)


@sim.command(epilog=_example("graph"))
@_common
@_meta
def graph(**given: Any) -> int:
    """Run a simulated Graph API with Messenger, Instagram and WhatsApp."""
    return _run_graph(META, given)


@sim.command(epilog=_example("messenger"))
@_common
@_meta
def messenger(**given: Any) -> int:
    """Run a simulated Messenger."""
    return _run_graph(("messenger",), given)


@sim.command(epilog=_example("instagram"))
@_common
@_meta
def instagram(**given: Any) -> int:
    """Run a simulated Instagram, with the page its account is linked with."""
    return _run_graph(("instagram",), given)


@sim.command(epilog=_example("whatsapp"))
@_common
@_meta
def whatsapp(**given: Any) -> int:
    """Run a simulated WhatsApp Cloud API."""
    return _run_graph(("whatsapp",), given)


@sim.command(epilog=_example("twilio"))
@_common
@click.option("--auth-token", envvar="TWILIO_AUTH_TOKEN", help="auth token that signs webhooks")
@click.option(
    "--public-url",
    metavar="URL",
    help="publicUrl of the installation; default: that of --target, or http://127.0.0.1:8080",
)
def twilio(**given: Any) -> int:
    """Run a simulated Twilio: SMS and WhatsApp."""
    from airy.sim.twilio import TwilioOptions, TwilioProvider

    given["public_url"] = given["public_url"] or given["target"]
    return _run(TwilioProvider, TwilioOptions, given)


@sim.command(epilog=_example("viber"))
@_common
def viber(**given: Any) -> int:
    """Run a simulated Viber."""
    from airy.sim.viber import ViberOptions, ViberProvider

    return _run(ViberProvider, ViberOptions, given)


@sim.command(epilog=_example("telegram"))
@_common
@click.option("--https-only", is_flag=True, help="refuse webhooks that are not https, as Telegram itself does")
def telegram(**given: Any) -> int:
    """Run a simulated Telegram."""
    from airy.sim.telegram import TelegramOptions, TelegramProvider

    return _run(TelegramProvider, TelegramOptions, given)


@sim.command(epilog=_example("google"))
@_common
@_service_account
@click.option("--partner-key", "webhook_key", envvar="GOOGLE_PARTNER_KEY", help="partner key that signs webhooks")
def google(**given: Any) -> int:
    """Run a simulated Google Business Messages."""
    from airy.sim.google import BusinessMessagesOptions, BusinessMessagesProvider

    return _run(BusinessMessagesProvider, BusinessMessagesOptions, _with_service_account(given))


@sim.command(epilog=_example("rcs"))
@_common
@_service_account
@click.option("--client-token", "webhook_key", envvar="RCS_CLIENT_TOKEN", help="client token that signs webhooks")
def rcs(**given: Any) -> int:
    """Run a simulated RCS for Business."""
    from airy.sim.rcs import RcsOptions, RcsProvider

    return _run(RcsProvider, RcsOptions, _with_service_account(given))


def _with_service_account(given: dict[str, Any]) -> dict[str, Any]:
    from airy.sim.google_api import service_account

    path: Path | None = given.pop("service_account")
    if path is None:
        return given
    return {**given, "service_account": service_account.kept(path), "service_account_file": str(path.absolute())}


def _run_graph(products: tuple[str, ...], given: dict[str, Any]) -> int:
    from airy.sim.graph import DEMO_INSTAGRAM, DEMO_NUMBER, DEMO_PAGE, GraphOptions, GraphProvider

    accounts = {
        "messenger": (DEMO_PAGE,),
        "instagram": (DEMO_INSTAGRAM, DEMO_PAGE),
        "whatsapp": (DEMO_NUMBER,),
    }
    wanted = tuple(dict.fromkeys(account for product in products for account in accounts[product]))
    return _run(GraphProvider, GraphOptions, {**given, "accounts": wanted})


def _run(provider: Any, options: Any, given: dict[str, Any]) -> int:
    from airy.sim.provider import ROUGH, Behaviour, SimServer
    from airy.sim.run import run_sim

    behaviour = ROUGH if given.pop("rough") else Behaviour()
    given["target_url"] = given.pop("target")
    chosen = {name: value for name, value in given.items() if value is not None}
    return run_sim(SimServer(provider, options(behaviour=behaviour, **chosen)))
