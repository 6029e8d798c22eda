"""`airy sim …`: simulated providers."""

from typing import Any

import rich_click as click


@click.group()
def sim() -> None:
    """Run simulated providers."""


@sim.command()
@click.option("--target", metavar="URL", help="URL that receives the webhooks, e.g. http://127.0.0.1:8080/facebook")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="port of the Graph API; default: a free one")
@click.option("--customers", type=click.IntRange(0, 10_000), default=0, help="number of simulated customers")
@click.option("--seed", type=int, default=0, help="seed of all random draws")
@click.option("--app-secret", envvar="FACEBOOK_APP_SECRET", help="app secret that signs webhooks")
@click.option(
    "--verify-token", envvar="FACEBOOK_WEBHOOK_SECRET", help="verify token; webhookSecret in the configuration"
)
@click.option("--rough", is_flag=True, help="inject faults: duplicates, reordering, lost responses, errors")
def messenger(rough: bool, **arguments: Any) -> int:
    """Run a simulated Messenger: the Graph API, customers, and webhooks."""
    from airy.sim.messenger import ROUGH, Behaviour, SimOptions, run_messenger_sim

    arguments["target_url"] = arguments.pop("target")
    options = {name: value for name, value in arguments.items() if value is not None}
    return run_messenger_sim(SimOptions(behaviour=ROUGH if rough else Behaviour(), **options))
