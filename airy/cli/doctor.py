"""`airy doctor`: finds what is wrong with an installation."""

import os
import sys
from pathlib import Path

import rich_click as click

from airy.cli.options import OK, config_options, json_option

PROBLEMS = 78


@click.command()
@config_options
@click.option("--kafka", envvar="AIRY_KAFKA", help="the Kafka cluster, host:port[,host:port]")
@click.option("--redis", envvar="AIRY_REDIS", help="the Redis of the webhook queue, redis://host:port/0")
@click.option("--url", envvar="AIRY_URL", help="an instance elsewhere: only it is examined, with --token")
@click.option("--token", envvar="AIRY_TOKEN", help="token of the instance; default: the configured or generated one")
@json_option
def doctor(
    file: Path | None,
    data: Path | None,
    kafka: str | None,
    redis: str | None,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> int:
    """Find the cause of what is wrong with an installation, and the next step.

    Examines the configuration, the data directory, Kafka, Redis and, if it runs, the instance. Exit code 0: nothing is
    wrong, or warnings only; 78: there are problems.
    """
    import json

    import msgspec

    from airy import config_file, process
    from airy.app.doctor import report
    from airy.app.doctor.command import examine_installation
    from airy.app.doctor.examination import has_problem
    from airy.cli.options import environment

    env = environment(data, kafka, redis)

    def run() -> int:
        results = process.run_async(examine_installation, file or config_file.find(), env, url, token)
        if as_json:
            click.echo(json.dumps(msgspec.to_builtins(report.rows(results)), indent=2, ensure_ascii=False))
        else:
            unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
            coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            click.echo("\n".join(report.lines(results, unicode=unicode, coloured=coloured)))
        return PROBLEMS if has_problem(results) else OK

    return process.exit_code_of(run)
