"""`airy contacts`, `tags`, `templates`, `user` and `components`"""

from pathlib import Path

import pytest

from airy.http.catalogue import ACTIONS
from airy.permissions import PERMISSIONS, Role
from tests.kit.command_line import CommandLine, matches_golden

ADA = {"organization_name": "Analytical", "conversations": {"c-1": "facebook"}, "via": {"email": "ada@example.net"}}


@pytest.fixture(autouse=True)
def stored(airy: CommandLine) -> None:
    directory = airy.instance.directory
    directory.contact("p-1", "Ada Brown", **ADA)
    directory.contact("p-2", None)
    directory.tag("t-2", "urgent")
    directory.tag("t-1", "later", "tag-blue")
    directory.template("x-1", "hours", "facebook", {"text": "We open at nine."})
    directory.user("github:ada", "Ada")
    airy.instance.services = {
        "sources-facebook": {"enabled": True, "healthy": False, "component": "sources-facebook"},
        "api-admin": {"enabled": True, "healthy": True, "component": "api-admin"},
        "sources-viber": {"enabled": False, "healthy": False, "component": "sources-viber"},
    }


@pytest.mark.parametrize(
    ("view", "arguments"),
    [
        ("contacts", ["contacts", "list"]),
        ("contact", ["contacts", "show", "p-1"]),
        ("contact", ["contacts", "show", "--conversation", "c-1"]),
        ("tags", ["tags", "list"]),
        ("templates", ["templates", "list", "--source", "facebook"]),
        ("template", ["templates", "show", "x-1"]),
        ("users", ["user", "list"]),
        ("components", ["components", "list"]),
    ],
)
def test_a_view_is_printed(airy: CommandLine, view: str, arguments: list[str]) -> None:
    assert matches_golden("-".join(arguments[:2]), airy(*arguments).out)
    assert airy.json(view, *arguments)


def test_a_contact_is_created_changed_merged_and_deleted(airy: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "more.json").write_text('{"level": 3}')
    created = airy.json("contact", "contacts", "create", "--display-name", "Bob", "--metadata", "@more.json")
    assert (created["display_name"], created["metadata"]) == ("Bob", {"level": 3})
    updated = airy.json("outcomes", "contacts", "update", "p-1", "--title", "", "--address", "city=Berlin")
    assert updated == [{"id": "p-1", "result": "updated"}]
    written = ("/contacts.update", {"id": "p-1", "version": None, "title": "", "address": {"city": "Berlin"}})
    assert airy.instance.directory.written[-1] == written
    merged = airy.json("merged-contact", "contacts", "merge", "p-2", "--into", "p-1", "--yes")
    assert [each["id"] for each in merged["merge_history"]] == ["p-2"]
    assert airy("contacts", "delete", "p-1", "--yes").code == 0
    assert airy("contacts", "delete", "p-1", "--yes").code == 66


def test_a_tag_is_created_changed_and_deleted(airy: CommandLine) -> None:
    assert airy.json("tag", "tags", "create", "vip", "--color", "purple")["color"] == "tag-purple"
    assert airy("tags", "update", "t-1", "--name", "soon").out == "ID   RESULT\nt-1  updated\n"
    assert airy("tags", "delete", "t-1", "t-2", "--yes").out == "ID   RESULT\nt-1  deleted\nt-2  deleted\n"
    assert [each["id"] for each in airy.json("tags", "tags", "list")] == ["new"]


def test_a_template_is_created_changed_and_deleted(airy: CommandLine) -> None:
    created = airy.json("template", "templates", "create", "bye", "--source", "viber", "--content", '{"text": "Bye"}')
    assert created["content"] == {"text": "Bye"}
    assert airy.json("template", "templates", "update", "new", "--content", '{"text": "Ciao"}')["content"] == {
        "text": "Ciao"
    }
    assert airy.json("outcomes", "templates", "delete", "new", "--yes") == [{"id": "new", "result": "deleted"}]


def test_a_user_is_logged_out(airy: CommandLine) -> None:
    assert airy.json("outcomes", "user", "log-out", "github:ada", "--yes") == [
        {"id": "github:ada", "result": "logged out"}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["contacts", "update", "p-1"], "at least one field"),
        (["contacts", "update", "p-1", "--via", "email"], "NAME=VALUE"),
        (["contacts", "create", "--metadata", "{"], "is not JSON"),
        (["contacts", "create", "--metadata", "@none.json"], "none.json cannot be read: No such file"),
        (["contacts", "show"], "name a contact"),
        (["tags", "update", "t-1"], "--name, --color"),
        (["templates", "update", "x-1"], "--name, --source or --content"),
        (["tags", "delete", "t-1"], "pass --yes"),
    ],
)
def test_wrong_use_is_said_before_anything_is_asked(airy: CommandLine, arguments: list[str], said: str) -> None:
    printed = airy(*arguments)

    assert printed.code == 64
    assert said in printed.err
    assert airy.instance.asked == {}


def test_reading_needs_no_more_than_the_token_of_an_agent(airy: CommandLine) -> None:
    """Whatever the commands that read have asked for by now."""
    airy.instance.conversation("c-1", "Ada")
    for arguments in (
        ["conversations", "list"],
        ["conversations", "show", "c-1"],
        ["messages", "list", "c-1"],
        ["contacts", "list"],
        ["channels", "list"],
        ["tags", "list"],
        ["templates", "list", "--source", "facebook"],
        ["user", "list"],
        ["components", "list"],
    ):
        assert airy(*arguments).code == 0

    needed = {path: each.permission for each in ACTIONS for path in each.paths}
    assert {needed[path] for path in airy.instance.asked} <= PERMISSIONS[Role.AGENT]
