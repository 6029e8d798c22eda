"""The command line: parses arguments and returns exit codes; no logic.

Expensive imports are inside the commands that need them, so that `airy --help` is fast. Exit codes follow sysexits;
docs/cli.md has the table.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import rich_click as click

from airy.cli.options import OK, USAGE
from airy.cli.root import airy

if TYPE_CHECKING:
    from airy.http_client import HttpClient

INVALID = 78
INTERRUPTED = 130
BROKEN_PIPE = 141  # as of a program that SIGPIPE ends


def main(
    arguments: Sequence[str] | None = None,
    *,
    open_http: "Callable[[], AbstractAsyncContextManager[HttpClient]] | None" = None,
) -> int:
    """Runs a command line. Returns the exit code. `open_http`: what clients of the API call through."""
    from airy.errors import Refused

    try:
        code = airy.main(args=arguments, prog_name="airy", standalone_mode=False, obj=open_http)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else error.exit_code
    except click.Abort:
        return INTERRUPTED
    except Refused as error:
        from airy.config_document import InvalidConfig

        problems = isinstance(error, InvalidConfig)  # a line for each, with the file
        click.echo(str(error) if problems else f"airy: {error}", err=True)
        return INVALID
    except BrokenPipeError:
        code = BROKEN_PIPE
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):  # which click ends with 1
            raise
        code = BROKEN_PIPE
    if code == BROKEN_PIPE:
        _discard_stdout()
    return code if isinstance(code, int) else OK


def _discard_stdout() -> None:
    """The reader of the output has gone: what is still buffered would fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
