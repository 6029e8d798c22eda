"""References in the text of a setting: `${NAME}` and `${NAME:-default}` anywhere in it, or `env:NAME` and `file:PATH`.

What a reference stands for is not searched for references. Text that only looks like one is refused: as a password it
would be wrong in a way that nothing shows.
"""

import re
from collections.abc import Mapping
from pathlib import Path

FILE_BYTES_MAX = 65_536

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$\{{({_VARIABLE})(?::-([^{{}}]*))?\}}")
_SCHEME = re.compile(r"(env|file):(.*)", re.DOTALL | re.IGNORECASE)
_FOREIGN = re.compile(
    rf"\$\{{|\{{\{{.*\}}\}}|\$\({_VARIABLE}\)|^\s*(?:\${_VARIABLE}|\$\(.*\)|`.*`|%{_VARIABLE}%)\s*$", re.DOTALL
)
_IN_ADDRESS = re.compile(rf"://.*\${_VARIABLE}", re.DOTALL)


class Unresolved(Exception):
    """A reference that cannot be resolved; the message shows no value."""


def resolve(text: str, env: Mapping[str, str]) -> str | None:
    """What the references in `text` stand for; None if it has none. Raises `Unresolved`."""
    rest = _REFERENCE.sub("", text)
    scheme = _SCHEME.fullmatch(rest.strip())
    if scheme is None and (_FOREIGN.search(rest) or _IN_ADDRESS.search(rest)):
        raise Unresolved(
            "looks like a reference: write ${NAME} for an environment variable; give other text that has this form "
            "with env:NAME or file:PATH"
        )
    expanded = _REFERENCE.sub(lambda match: _variable(match[1], match[2], env), text)
    if scheme is None:
        return expanded if rest != text else None
    name = expanded.strip().partition(":")[2].strip()
    return _file_text(name) if scheme[1].lower() == "file" else _variable(name, None, env)


def has_reference(text: str) -> bool:
    rest = _REFERENCE.sub("", text)
    return rest != text or _SCHEME.fullmatch(rest.strip()) is not None


def concealed(text: str, mask: str) -> str:
    """The references in the text of a secret; what else is in it, and their defaults, are replaced by `mask`."""
    if _SCHEME.fullmatch(_REFERENCE.sub("", text).strip()):
        return _REFERENCE.sub(lambda match: _without_default(match, mask), text)
    parts = _REFERENCE.split(text)  # text, name, default, text, …
    names = [_shown_name(name, default, mask) for name, default in zip(parts[1::3], parts[2::3], strict=True)]
    around = [mask if part.strip() else "" for part in parts[::3]]
    return "".join(f"{before}{name}" for before, name in zip(around, [*names, ""], strict=True))


def _without_default(match: re.Match[str], mask: str) -> str:
    return _shown_name(match[1], match[2], mask)


def _shown_name(name: str, default: str | None, mask: str) -> str:
    return f"${{{name}}}" if default is None else f"${{{name}:-{mask if default else ''}}}"


def _variable(name: str, default: str | None, env: Mapping[str, str]) -> str:
    if env.get(name):
        return env[name]
    if default is None:
        raise Unresolved(f"environment variable {name} is {'empty' if name in env else 'not set'}")
    return default


def _file_text(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise Unresolved(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unresolved(f"cannot read {name}: it is not UTF-8 text") from error
    except ValueError as error:
        raise Unresolved("names a file with a character that no path has") from error
    if len(data) > FILE_BYTES_MAX:
        raise Unresolved(f"cannot read {name}: it is over {FILE_BYTES_MAX} bytes, which is no setting")
    if not text.strip():
        raise Unresolved(f"{name} is empty")
    return text
