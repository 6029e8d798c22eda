"""`airy components …`"""

from collections.abc import Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import rich_click as click

from airy.cli.client import Instance, client_options
from airy.cli.options import OK, Command
from airy.cli.output import Output, confirm, examples, note, output_options, yes_option

if TYPE_CHECKING:
    from airy.api_client import ApiClient

WAIT_S = 150.0  # for a reload: longer than a configuration has to start
POLL_S = 0.5
CHANGES = 2  # exit code of a plan with differences


@click.group()
def components() -> None:
    """Show the components of an instance, and change its configuration."""


@components.command("list", epilog=examples("airy components list", "airy components list --json"))
@client_options
@output_options
def list_components(instance: Instance, output: Output) -> int:
    """List components by name: whether each is enabled, and whether a process is ready that runs it."""
    from airy.cli.views.components import COMPONENTS

    async def task(client: "ApiClient") -> int:
        services = (await client.call("/client.config", {}, dict[str, Any]))["services"]
        output.rows(COMPONENTS, [{"service": name, **service} for name, service in services.items()])
        return OK

    return instance.run(task)


@components.command("get", epilog=examples("airy components get", "airy components get sources-viber --json"))
@click.argument("names", metavar="[SECTION]…", nargs=-1)
@client_options
@output_options
def get_settings(names: Sequence[str], instance: Instance, output: Output) -> int:
    """Print settings of the running configuration: those with another value than their default, or all of a SECTION.

    Secrets are never shown, references as they are written.
    """
    from airy.cli.views.components import SETTINGS

    async def task(client: "ApiClient") -> int:
        sections = (await client.call("/components.list", {}, dict[str, Any]))["data"]
        if unknown := {*names} - {each["name"] for each in sections}:
            known = ", ".join(each["name"] for each in sections)
            raise click.UsageError(f"no section is called {', '.join(sorted(unknown))}; there are {known}")
        rows = [
            {"section": section["name"], **setting}
            for section in sections
            for setting in section["settings"]
            if section["name"] in names or (not names and (setting["is_set"] or setting["reference"]))
        ]
        output.rows(SETTINGS, rows)
        return OK

    return instance.run(task)


def change_options(command: Command) -> Command:
    """What is to change; the command gets `wanted`, the `components` of a request."""

    @wraps(command)
    def with_changes(*arguments: Any, given: Any, enabled: Any, disabled: Any, **others: Any) -> Any:
        from airy.cli.config_changes import changes

        return command(*arguments, wanted=changes(given, enabled, disabled), **others)

    with_changes = click.option("--disable", "disabled", multiple=True, metavar="COMPONENT", help="switch it off")(
        with_changes
    )
    with_changes = click.option("--enable", "enabled", multiple=True, metavar="COMPONENT", help="switch it on")(
        with_changes
    )
    return click.argument("given", metavar="[SECTION.KEY=VALUE]…", nargs=-1)(with_changes)


@components.command(
    "plan",
    epilog=examples(
        "airy components plan http.port=8081 log.level=debug",
        "airy components plan --enable sources-viber sources-viber.authToken=@token.txt",
        "airy components plan",
    ),
)
@change_options
@client_options
@output_options
def plan(wanted: list[dict[str, Any]], instance: Instance, output: Output) -> int:
    """Print what changes of the configuration would do; nothing is written. Exit code 2: there are differences.

    An empty VALUE is the default; @FILE is a file's content, @- stdin: for secrets. Without changes: what was edited in
    the file since the start.
    """

    async def task(client: "ApiClient") -> int:
        planned = await _planned(client, output, wanted)
        _check(planned)
        return CHANGES if planned["differences"] else OK

    return instance.run(task)


@components.command(
    "apply",
    epilog=examples(
        "airy components apply http.port=8081 log.level=debug",
        "airy components apply --enable sources-viber sources-viber.authToken=@token.txt --yes",
        "airy components apply --yes",
    ),
)
@change_options
@yes_option
@client_options
@output_options
def apply(wanted: list[dict[str, Any]], yes: bool, instance: Instance, output: Output) -> int:
    """Change the configuration file of an instance as planned, and wait until the process has reloaded.

    Without changes: apply what was edited in the file. If the changed configuration does not start, the former one runs
    again, and the exit code is 78.
    """

    async def task(client: "ApiClient") -> int:
        planned = await _planned(client, output, wanted)
        _check(planned)
        if not planned["differences"]:
            return OK
        confirm("Apply this, and reload the process?", yes=yes)
        body = {"components": wanted, "fingerprint": planned["fingerprint"]}
        await client.call("/components.update", body, object)
        await _reloaded(client, planned)
        return OK

    return instance.run(task)


async def _planned(client: "ApiClient", output: Output, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """The plan, after it was printed."""
    from airy.cli.views.components import DIFFERENCES

    found = await client.call("/components.plan", {"components": wanted}, dict[str, Any])
    if found["differences"] or not found["problems"]:
        output.rows(DIFFERENCES, found["differences"])
    if found["restarts"]:
        note(f"the process reloads: {', '.join(found['restarts'])}")
    for process in found["restart_by_hand"]:
        note(f"restart by hand, it does not reload: {process['instance']}")
    return found


def _check(plan: dict[str, Any]) -> None:
    """Raises `Refused` with what stands against a plan."""
    from airy.errors import Refused

    problems = [f"{each['path']}: {each['message']}" if each["path"] else each["message"] for each in plan["problems"]]
    if plan["refused"] and plan["differences"]:
        problems.append(f"cannot be applied here: {plan['refused']}")
    if problems:
        raise Refused("\n".join(problems))


async def _reloaded(client: "ApiClient", plan: dict[str, Any]) -> None:
    """Wait for the outcome. Raises `Refused` if the change was taken back, `Unavailable` after `WAIT_S`."""
    import anyio

    from airy.errors import Refused, Unavailable

    if any(each["path"] in ("http.host", "http.port") for each in plan["differences"]):
        note("the process reloads at its new address")
        return
    with anyio.move_on_after(WAIT_S):
        while True:
            await anyio.sleep(POLL_S)
            try:
                change = (await client.call("/components.list", {}, dict[str, Any]))["last_change"]
            except Unavailable:
                continue  # it drains
            if change and change["state"] == "reverted":
                raise Refused(f"the changed configuration did not start, the former one runs: {change['problem']}")
            if change and change["state"] == "applied":
                note("applied")
                return
    raise Unavailable(f"the process has not reloaded within {WAIT_S:g} s")
