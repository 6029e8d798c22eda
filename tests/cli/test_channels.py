"""`airy channels`"""

from pathlib import Path

import pytest

from tests.kit.command_line import CommandLine, matches_golden


@pytest.fixture(autouse=True)
def stored(airy: CommandLine) -> None:
    operations = airy.instance.operations
    operations.channel("b", "telegram", "Support bot")
    operations.channel("a", "facebook", "Page", state="failing", reason="the token has expired")


def test_channels_are_listed_with_what_is_wrong_with_them(airy: CommandLine) -> None:
    assert matches_golden("channels-list", airy("channels", "list").out)
    assert [each["id"] for each in airy.json("channels", "channels", "list")] == ["a", "b"]
    assert airy.json("channel", "channels", "show", "a")["source"] == "facebook"


def test_kinds_of_channels_have_their_fields(airy: CommandLine) -> None:
    assert matches_golden("channels-kinds", airy("channels", "kinds").out)
    (telegram,) = airy.json("channel-kinds", "channels", "kinds")
    assert [each["name"] for each in telegram["fields"] if each["secret"]] == ["bot_token"]


def test_a_channel_is_connected_with_a_secret_from_a_file(airy: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("123:secret\n")

    connected = airy.json("connected-channel", "channels", "connect", "telegram", "--set", "bot_token=@token")

    assert connected["settings"] == {"webhook_url": "https://airy.example.net/telegram"}
    assert airy.instance.operations.written == [("/channels.telegram.connect", {"bot_token": "123:secret"})]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["telegran"], "did you mean telegram?"),
        (["telegram"], "required: bot_token"),
        (["telegram", "--set", "bot_tokn=x"], "telegram has no bot_tokn"),
        (["telegram", "--set", "bot_token=x", "--set", "mode=both"], "mode is bot or business"),
    ],
)
def test_a_wrong_form_is_not_sent(airy: CommandLine, arguments: list[str], said: str) -> None:
    printed = airy("channels", "connect", *arguments)

    assert printed.code == 64
    assert said in printed.err
    assert airy.instance.operations.written == []


def test_a_channel_is_renamed_and_disconnected(airy: CommandLine) -> None:
    assert airy.json("channel", "channels", "update", "b", "--name", "Sales")["metadata"]["name"] == "Sales"
    assert airy("channels", "disconnect", "b").code == 64
    assert airy("channels", "disconnect", "b", "--yes").out == "ID  RESULT\nb   disconnected\n"
    assert airy("channels", "disconnect", "b", "--yes").code == 66
