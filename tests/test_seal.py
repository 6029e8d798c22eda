"""Sealed text unseals only undamaged, with its key, and in its context."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.errors import Refused
from airy.seal import Sealer, load_or_create_key, seal_context

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
HERE = seal_context("application.communication.webhooks", "w-1", "headers")


@given(st.text(), st.text())
def test_sealed_text_unseals_in_its_context(text: str, context: str) -> None:
    sealer = Sealer({"k1": KEY})
    assert sealer.unseal(sealer.seal(text, context), context) == text


def test_the_same_text_never_seals_to_the_same_text() -> None:
    sealer = Sealer({"k1": KEY})
    assert len({sealer.seal("token", HERE) for _ in range(100)}) == 100


def test_every_flipped_bit_is_refused() -> None:
    sealer = Sealer({"k1": KEY})
    sealed = sealer.seal("token", HERE)
    for at in range(len(sealed)):
        for bit in range(8):
            damaged = sealed[:at] + chr(ord(sealed[at]) ^ 1 << bit) + sealed[at + 1 :]
            with pytest.raises(Refused):
                sealer.unseal(damaged, HERE)


def test_text_moved_to_another_field_entity_or_topic_is_refused() -> None:
    sealer = Sealer({"k1": KEY})
    sealed = sealer.seal("token", HERE)
    for elsewhere in (
        seal_context("application.communication.webhooks", "w-1", "signature_key"),
        seal_context("application.communication.webhooks", "w-2", "headers"),
        seal_context("application.communication.channels", "w-1", "headers"),
        "",
    ):
        with pytest.raises(Refused):
            sealer.unseal(sealed, elsewhere)


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_two_contexts_are_never_equal(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (seal_context(*one) == seal_context(*other)) == (one == other)


def test_a_new_key_in_front_seals_and_the_old_one_still_opens() -> None:
    old = Sealer({"k1": KEY}).seal("token", HERE)
    rotated = Sealer({"k2": OTHER, "k1": KEY})
    assert rotated.unseal(old, HERE) == "token"
    assert rotated.seal("token", HERE).split(".")[1] == "k2"
    with pytest.raises(Refused, match="'k1'"):
        Sealer({"k2": OTHER}).unseal(old, HERE)


def test_the_wrong_key_under_the_right_id_is_refused() -> None:
    with pytest.raises(Refused):
        Sealer({"k1": OTHER}).unseal(Sealer({"k1": KEY}).seal("token", HERE), HERE)


@pytest.mark.parametrize(
    "text", ["", "token", "s1", "s1.k1", "s1.k1.", "s1.k1.AAAA", "s1.k1.é", "s2.k1.AAAA", "...", "\ud800"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Sealer({"k1": KEY}).unseal(text, HERE)


@pytest.mark.parametrize("keys", [{}, {"k1": b"short"}, {"": KEY}, {"a.b": KEY}, {"k" * 33: KEY}])
def test_unusable_keys_are_refused(keys: dict[str, bytes]) -> None:
    with pytest.raises(Refused):
        Sealer(keys)


def test_no_representation_shows_a_key_or_the_text() -> None:
    sealer = Sealer({"k1": KEY})
    sealed = sealer.seal("very-secret", HERE)
    assert "very-secret" not in sealed + repr(sealer)
    with pytest.raises(Refused) as refused:
        sealer.unseal(sealed, "elsewhere")
    assert "very-secret" not in str(refused.value)


def test_a_key_file_is_created_once_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "airy" / "key"
    first = load_or_create_key(path)
    assert load_or_create_key(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [len(key) for key in first.values()] == [32]
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        load_or_create_key(path)


@pytest.mark.parametrize("content", ["", "\n", "k1", "k1 !", "k1 é"])
def test_a_damaged_key_file_is_refused_and_never_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, "utf-8")
    path.chmod(0o600)
    with pytest.raises(Refused):
        Sealer(load_or_create_key(path))
    assert path.read_text("utf-8") == content
