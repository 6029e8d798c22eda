"""`airy doctor`: finds what is wrong with an installation."""

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.connection import OpenHttp
from airy.cli.options import OK, environment
from airy.cli.output import Output, Screen, examples, output_options

PROBLEMS = 78


@click.command(
    epilog=examples(
        "airy doctor",
        "airy doctor --kafka kafka:9092 --redis redis://redis:6379/0",
        "airy doctor --url https://airy.example.net --token airy_… --json",
    )
)
@click.option("--kafka", envvar="AIRY_KAFKA", help="the Kafka cluster, host:port[,host:port]")
@click.option("--redis", envvar="AIRY_REDIS", help="the Redis of the webhook queue, redis://host:port/0")
@client_options
@output_options
@click.pass_obj
def doctor(open_http: OpenHttp | None, kafka: str | None, redis: str | None, instance: Instance, output: Output) -> int:
    """Find the cause of what is wrong with an installation, and the next step.

    Examines the configuration, this machine, the data directory, Kafka, Redis and, if it runs, the instance; with
    --url that instance only. Nothing is changed. Exit code 78: there are problems; 0: there are none, warnings at most.
    """
    import msgspec

    from airy import config_file, process
    from airy.app.doctor import report
    from airy.app.doctor.command import examine_installation
    from airy.app.doctor.examination import has_problem
    from airy.cli.views.doctor import DOCTOR

    file = instance.file or config_file.find()
    env = environment(instance.data, kafka, redis)

    def run() -> int:
        results = process.run_async(examine_installation, file, env, instance.url, instance.token, open_http)

        def text(screen: Screen) -> str:
            lines = report.lines(results, unicode=screen.unicode, coloured=screen.coloured, columns=screen.columns)
            return "\n".join(lines)

        output.rows(DOCTOR, msgspec.to_builtins(report.rows(results)), text=text)
        return PROBLEMS if has_problem(results) else OK

    return process.exit_code_of(run)
