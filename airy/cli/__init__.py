"""The command line: parses arguments and returns exit codes; no logic.

Expensive imports are inside the commands that need them, so that `airy --help` is fast. Exit codes follow sysexits:
0 ok, 64 usage, 70 internal failure, 75 temporary failure, 78 configuration.
"""

from collections.abc import Sequence

import rich_click as click

from airy.cli.root import airy

OK = 0
USAGE = 64
INVALID = 78
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line. Returns the exit code."""
    from airy.errors import Refused

    try:
        code = airy.main(args=arguments, prog_name="airy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else error.exit_code
    except click.Abort:
        return INTERRUPTED
    except Refused as error:
        click.echo(str(error), err=True)
        return INVALID
    return code if isinstance(code, int) else OK
