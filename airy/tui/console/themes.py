"""The themes of the console. Colours of states are the theme's `success`, `warning` and `error`, never literals."""

from textual.theme import Theme

from airy.tui.console.theme_names import NAMES

NIGHT = Theme(
    name="airy-night",
    primary="#4FB3BF",
    secondary="#7A9CC6",
    accent="#F2B66D",
    foreground="#DCE3EA",
    background="#11161C",
    surface="#161D25",
    panel="#1F2933",
    success="#7FB77E",
    warning="#E8B04A",
    error="#E06C62",
    dark=True,
)
DAY = Theme(
    name="airy-day",
    primary="#00687A",
    secondary="#3D5A80",
    accent="#A85B00",
    foreground="#1D2730",
    background="#FAFAF7",
    surface="#F1F1EC",
    panel="#E3E4DE",
    success="#2E6B34",
    warning="#8A5A00",
    error="#A8271D",
    dark=False,
)
DUSK = Theme(
    name="airy-dusk",
    primary="#C792EA",
    secondary="#82AAFF",
    accent="#FFCB6B",
    foreground="#E4E0EE",
    background="#1A1625",
    surface="#211C2E",
    panel="#2C2540",
    success="#A5D6A7",
    warning="#FFCB6B",
    error="#FF8A80",
    dark=True,
)
CONTRAST = Theme(
    name="airy-contrast",
    primary="#00FFFF",
    secondary="#FFFFFF",
    accent="#FFFF00",
    foreground="#FFFFFF",
    background="#000000",
    surface="#000000",
    panel="#262626",
    success="#00FF00",
    warning="#FFFF00",
    error="#FF8080",
    dark=True,
)
THEMES = (NIGHT, DAY, DUSK, CONTRAST)
assert tuple(theme.name.removeprefix("airy-") for theme in THEMES) == NAMES
