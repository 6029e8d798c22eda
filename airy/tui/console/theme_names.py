"""The names of the themes, without textual: the help of the command line lists them."""

NAMES = ("night", "day", "dusk", "contrast")
