"""`airy completion SHELL`, and the names that arguments are completed with."""

import rich_click as click
from click.shell_completion import CompletionItem

from airy.cli.options import OK
from airy.cli.output import examples

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_AIRY_COMPLETE"  # click's: set by the script when the shell asks


@click.command(
    epilog=examples(
        "airy completion bash > ~/.local/share/bash-completion/completions/airy",
        "airy completion zsh > ~/.zfunc/_airy",
        "airy completion fish > ~/.config/fish/completions/airy.fish",
    )
)
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the script that completes commands, options and names in SHELL."""
    from click.shell_completion import get_completion_class

    from airy.cli.root import airy

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(airy, {}, "airy", VARIABLE).source())
    return OK


def complete_sources(_context: click.Context, _argument: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Names of sources, with their titles."""
    from airy.sources.catalogue import SOURCES

    return [CompletionItem(spec.name, help=spec.title) for spec in SOURCES if spec.name.startswith(beginning)]


def complete_components(_context: click.Context, _argument: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Ids of components, with what they do."""
    from airy import components

    return [CompletionItem(each.id, help=each.summary) for each in components.ALL if each.id.startswith(beginning)]
