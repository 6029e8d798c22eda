"""The allow-list of e-mail addresses: anchored, folded by case, and no expression."""

import pytest

from airy.email_patterns import EmailPatterns

PATTERNS = EmailPatterns(["Ada.Lovelace@Example.org", "*@Kuhn.example"])


@pytest.mark.parametrize("address", ["ada.lovelace@example.org", "ADA.LOVELACE@EXAMPLE.ORG", "ines+x@kuhn.EXAMPLE"])
def test_an_address_matches_whatever_its_case(address: str) -> None:
    assert PATTERNS.matches(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@kuhn.example",
        "kuhn.example",
        "adaXlovelace@example.org",  # a dot is a dot
        "xada.lovelace@example.org",
        "ada.lovelace@example.org.evil.example",
        "ada.lovelace@example.orgx",
        "ada.lovelace@evil.example\n@example.org",
        "ada.lovelace@example.org\n",
        " ada.lovelace@example.org",
        "ines@kuhnXexample",
        "ines@sub.kuhn.example",
        "ines@evil-kuhn.example",
        "ines@evil.example@kuhn.example",
        '"ines@evil.example"@kuhn.example',
        "ines@kuhn.example,evil@evil.example",
        "ines@\N{KELVIN SIGN}uhn.example",  # folds to k
        "\N{KELVIN SIGN}@kuhn.example",
        "ines@kuhn.example\0",
        "ines@kuhn.example.",
        f"{'x' * 65}@kuhn.example",
    ],
)
def test_nothing_else_matches(address: str) -> None:
    assert not PATTERNS.matches(address)
