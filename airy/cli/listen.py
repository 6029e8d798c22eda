"""`airy listen`: a local receiver of webhooks."""

import sys
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK
from airy.cli.output import Output, examples, note, output_options

if TYPE_CHECKING:
    from airy.api_client import ApiClient
    from airy.app.listen.receiver import ReceivedDelivery


def _checked_secrets(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Raises `BadParameter`, without the secret."""
    from airy.app.listen.signature_check import parse_secrets
    from airy.errors import Refused

    try:
        parse_secrets(given)
    except Refused as error:
        raise click.BadParameter(str(error)) from error
    return given


@click.command(
    epilog=examples(
        "airy listen --subscribe",
        "airy listen --port 9000 --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "airy listen --subscribe --event message.created --fail-first 3 --fail 503",
        "airy listen --fail-rate 0.2 --delay 1.5 --output ndjson",
    )
)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="port to listen on; default: a free one")
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--path", help="the only path that takes deliveries; default: every path")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    envvar="AIRY_WEBHOOK_SECRET",
    callback=_checked_secrets,
    help="whsec_… of the webhook, or its signature_key; repeat it during a rotation",
)
@click.option("--fail", type=click.IntRange(300, 599), help="status of failures (500); alone: of every answer")
@click.option("--fail-first", type=click.IntRange(min=0), default=0, help="fail so many requests first")
@click.option("--fail-rate", type=click.FloatRange(0, 1), default=0.0, help="fail this part of the requests")
@click.option("--delay", type=click.FloatRange(0, 600), default=0.0, help="seconds before each answer")
@click.option("--subscribe", is_flag=True, help="subscribe at the instance, and delete that webhook at the end")
@click.option("--event", "events", multiple=True, help="with --subscribe: only this kind of event; repeat it")
@click.option("--public-url", help="with --subscribe: where the instance reaches this receiver, such as a tunnel")
@client_options
@output_options
def listen(
    port: int,
    host: str,
    path: str | None,
    secrets: tuple[str, ...],
    fail: int | None,
    fail_first: int,
    fail_rate: float,
    delay: float,
    subscribe: bool,
    events: tuple[str, ...],
    public_url: str | None,
    instance: Instance,
    output: Output,
) -> int:
    """Receive webhooks on this machine: print, verify, answer with chosen failures.

    Prints each delivery: the answer, whether its signature is valid, invalid or missing, and whether it is repeated.
    One that is not signed with a given --secret is answered 401. With --subscribe the signing secret is known. An
    instance delivers to a private address only if its configuration allows that; the error says how.
    """
    import msgspec

    from airy import process
    from airy.app.listen import program
    from airy.app.listen.answer_plan import AnswerPlan
    from airy.app.listen.program import ListenOptions, SubscribeOptions
    from airy.cli.views.deliveries import RECEIVED

    if (events or public_url) and not subscribe:
        raise click.UsageError("--event and --public-url need --subscribe")
    if path is not None and not path.startswith("/"):
        raise click.UsageError("--path: a path begins with /")
    plan = AnswerPlan(
        status=fail or 500,
        always=fail is not None and not fail_first and not fail_rate,
        first=fail_first,
        rate=fail_rate,
        delay_s=delay,
    )
    options = ListenOptions(plan=plan, secrets=secrets, host=host, port=port, path=path)
    wanted = SubscribeOptions(events=events, public_url=public_url) if subscribe else None
    with output.writer(RECEIVED) as writer:

        def show(delivery: "ReceivedDelivery") -> None:
            writer.write([msgspec.to_builtins(delivery)])
            sys.stdout.flush()

        async def serve(client: "ApiClient | None" = None) -> int:
            await program.listen(options, show, note, client=client, subscribe=wanted)
            return OK

        if wanted is not None:
            return instance.run(serve)
        return process.exit_code_of(lambda: process.run_async(serve))
