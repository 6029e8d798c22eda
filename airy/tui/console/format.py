"""Numbers, ages and times for people. Pure."""

from datetime import datetime

BARS = "▁▂▃▄▅▆▇█"


def count(value: float | None) -> str:
    """`1,234`, `12.3k`, `4.56M`; `-` for None."""
    if value is None:
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scale = 1e3 if unit == "k" else size
            return f"{value / scale:.1f}{unit}"
    return f"{value:,.0f}"


def rate(per_s: float | None) -> str:
    """`12.5/s`; `-` for None, `·` for nothing."""
    if per_s is None:
        return "-"
    if per_s == 0:
        return "·"
    return f"{per_s:.1f}/s" if per_s < 100 else f"{count(per_s)}/s"


def duration(seconds: float | None) -> str:
    """`40 ms`, `1.5 s`, `3 min`, `2 h`, `4 d`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 86_400 else f"{seconds / 86_400:.0f} d"


def size(bytes_: float) -> str:
    """`512 B`, `3.4 KiB`, `120 MiB`."""
    value, units = float(bytes_), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    for larger in units:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def instant(text: str) -> datetime | None:
    """A time of the API; None if it cannot be read."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def time_of_day(text: str) -> str:
    """A time of the API as `14:03:07`, in the local time zone."""
    moment = instant(text)
    return moment.astimezone().strftime("%H:%M:%S") if moment else "-"


def milliseconds_of_day(text: str) -> str:
    """A time of the API as `14:03:07.042`, in the local time zone."""
    moment = instant(text)
    return moment.astimezone().isoformat(timespec="milliseconds")[11:23] if moment else "-"


def date_and_time(text: str) -> str:
    """A time of the API as `11-30 14:03:07`, in the local time zone."""
    moment = instant(text)
    return moment.astimezone().strftime("%m-%d %H:%M:%S") if moment else "-"


def sparkline(values: list[float], columns: int) -> str:
    """The latest `columns` values as bars, relative to the largest of them."""
    shown = values[-columns:]
    top = max(shown, default=0.0)
    bars = [
        BARS[min(len(BARS) - 1, int(value / top * (len(BARS) - 1) + 0.5))] if top > 0 else BARS[0] for value in shown
    ]
    return "".join(bars).rjust(columns)
