"""The root command. Each command or group is in its own module, which is imported when it is needed."""

import sys
from importlib import import_module

import rich_click as click

USAGE = 64
COMMANDS = {  # in the order of the help
    "up": "airy.cli.run:up",
    "run": "airy.cli.run:run",
    "demo": "airy.cli.run:demo",
    "console": "airy.cli.console:console",
    "status": "airy.cli.status:status",
    "doctor": "airy.cli.doctor:doctor",
    "tail": "airy.cli.tail:tail",
    "trace": "airy.cli.trace:trace",
    "conversations": "airy.cli.conversations:conversations",
    "messages": "airy.cli.messages:messages",
    "contacts": "airy.cli.contacts:contacts",
    "channels": "airy.cli.channels:channels",
    "tags": "airy.cli.tags:tags",
    "templates": "airy.cli.templates:templates",
    "components": "airy.cli.components:components",
    "config": "airy.cli.config:config",
    "sources": "airy.cli.sources:sources",
    "topics": "airy.cli.topics:topics",
    "queue": "airy.cli.queue:queue",
    "log": "airy.cli.log:log",
    "logs": "airy.cli.logs:logs",
    "dlq": "airy.cli.dlq:dlq",
    "webhooks": "airy.cli.webhooks:webhooks",
    "listen": "airy.cli.listen:listen",
    "token": "airy.cli.token:token",
    "user": "airy.cli.user:user",
    "verify": "airy.cli.verify:verify",
    "rebuild": "airy.cli.rebuild:rebuild",
    "sim": "airy.sim.commands:sim",
    "completion": "airy.cli.completion:completion",
    "version": "airy.cli.version:version",
}

PANELS = {  # of the help
    "Run": ("up", "run", "demo", "console"),
    "See what happens": ("status", "doctor", "tail", "trace", "logs", "listen"),
    "Conversations and settings": ("conversations", "messages", "contacts", "channels", "tags", "templates"),
    "Webhooks and dead letters": ("webhooks", "dlq"),
    "Operate": ("components", "config", "sources", "topics", "queue", "log", "verify", "rebuild", "token", "user"),
    "More": ("sim", "completion", "version"),
}

click.rich_click.COMMAND_GROUPS = {
    "airy": [
        {"name": title, "commands": [name for name in names if name in COMMANDS]} for title, names in PANELS.items()
    ]
}
click.rich_click.SHOW_ARGUMENTS = True
click.rich_click.MAX_WIDTH = 100


class LazyGroup(click.RichGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return loaded(COMMANDS[cmd_name])


def loaded(path: str) -> click.Command:
    module, _, name = path.partition(":")
    command: click.Command = getattr(import_module(module), name)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.pass_context
def airy(context: click.Context) -> int:
    """Airy: a self-hosted messaging platform. Without a command, `airy` opens the console on a terminal."""
    if context.invoked_subcommand is not None:
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(context.get_help(), err=True)
        return USAGE
    return int(context.invoke(loaded(COMMANDS["console"])))
