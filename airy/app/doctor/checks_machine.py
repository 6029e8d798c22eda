"""Checks of the configuration, this machine and the port. Pure."""

import errno
import os

from airy.app.doctor.check import Findings, each, ok, problem, warning
from airy.app.doctor.facts import ConfigFacts, MachineFacts, PortFacts, SettingFacts
from airy.app.open_services import lacks_shared_queue
from airy.config_document import ConfigProblem

PYTHON_MIN = (3, 11)
OPEN_FILES_MIN = 256  # below: not enough for the sockets of a quiet process
OPEN_FILES_WANTED = 1_024
READABLE_BY_OTHERS = 0o044
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
TERMS_WITHOUT_SCREEN = frozenset({"", "dumb", "unknown"})


# --- the configuration


def valid(facts: ConfigFacts) -> Findings:
    right = f"{facts.file} is valid" if facts.file else "there is no airy.yaml here: the defaults are used"
    return each((_invalid(one) for one in facts.problems), right)


def _invalid(one: ConfigProblem) -> Findings:
    place = one.file if one.line is None else f"{one.file}, line {one.line}"
    step = f"correct {place}, then run `airy config validate`"
    if one.message.startswith("environment variable"):
        step = f"export {one.message.split()[2]}=…, or remove the reference from {place}"
    return problem(f"{one.path}: {one.message}" if one.path else one.message, step)


def spelling(facts: ConfigFacts) -> Findings:
    return each((warning(text, f"edit {facts.file}") for text in facts.deprecated), "no deprecated spelling")


def secrets_in_file(facts: ConfigFacts) -> Findings:
    if facts.secrets_in_file and facts.mode & READABLE_BY_OTHERS:
        return warning(
            f"{facts.file} contains secrets and can be read by others (mode {facts.mode:o})",
            f"chmod 600 {facts.file}, or write ${{NAME}} in place of each secret",
        )
    return ok("no secret in a file that others can read")


def authentication(facts: SettingFacts) -> Findings:
    config = facts.config
    if not config.security.open:
        return ok("callers of the API need a token")
    if config.http.host not in LOOPBACK:
        return warning(
            f"security.open is true and http.host is {config.http.host}: every client of that port has all permissions",
            "remove security.open, or set http.host: 127.0.0.1",
        )
    return ok("off (security.open), on this machine only")


def shared_queue(facts: SettingFacts) -> Findings:
    if lacks_shared_queue(facts.config):
        return problem(
            "bus.kind is kafka and queue.kind is embedded: other processes would not find the deliveries of webhooks",
            "set queue.kind: redis and queue.redis.url: redis://HOST:6379/0",
        )
    return ok(f"queue.kind is {facts.config.queue.kind}")


# --- this machine


def python(facts: MachineFacts) -> Findings:
    found = ".".join(map(str, facts.python))
    if facts.python < PYTHON_MIN:
        wanted = ".".join(map(str, PYTHON_MIN))
        return problem(f"this is Python {found}; Airy needs {wanted} or later", f"install Airy with Python {wanted}")
    return ok(f"Python {found}")


def packages(facts: MachineFacts) -> Findings:
    if facts.missing_packages:
        names = " ".join(facts.missing_packages)
        return problem(f"Python packages are missing: {names}", f"pip install {names}")
    return ok("all packages are installed")


def open_files(facts: MachineFacts) -> Findings:
    limit = facts.open_files_max
    wanted = min(4 * OPEN_FILES_WANTED, facts.open_files_hard_max)
    step = f"ulimit -n {wanted} before the start (systemd: LimitNOFILE={wanted})"
    if limit < OPEN_FILES_MIN:
        return problem(f"a process may open {limit} files and sockets; Airy needs {OPEN_FILES_MIN} at rest", step)
    if limit < OPEN_FILES_WANTED:
        return warning(f"a process may open {limit} files and sockets, so it serves at most as many clients", step)
    return ok(f"{limit} files and sockets for each process")


def terminal(facts: MachineFacts) -> Findings:
    if not facts.terminal:
        return ok("output is not a terminal")
    if facts.term in TERMS_WITHOUT_SCREEN:
        return warning(
            f"TERM is {facts.term or 'not set'}: the console cannot draw", "export TERM=xterm-256color, or --no-console"
        )
    if facts.encoding.replace("-", "") != "utf8":
        return warning(
            f"the terminal's encoding is {facts.encoding or 'unknown'}, not UTF-8: names and lines are garbled",
            "export LC_ALL=C.UTF-8",
        )
    return ok(f"{facts.term}, UTF-8")


# --- the port


def port(facts: PortFacts) -> Findings:
    address = f"{facts.host}:{facts.port}"
    if not facts.error:
        return ok(f"{address} is free")
    if facts.airy and not facts.foreign:
        return ok(f"an instance of Airy listens on {address}")
    if facts.airy:
        return problem(
            f"{address} is taken{_by(facts)}, another installation of Airy",
            "stop it, or set http.port; to examine it: airy doctor --data with its data directory",
        )
    return _not_listening(facts, address)


def _not_listening(facts: PortFacts, address: str) -> Findings:
    match facts.error:
        case errno.EADDRINUSE:
            stop = f"kill {facts.holder}" if facts.holder else f"find it with `sudo ss -ltnp 'sport = :{facts.port}'`"
            return problem(f"{address} is taken{_by(facts)}", f"{stop}, or set http.port to another one")
        case errno.EACCES | errno.EPERM:
            return problem(
                f"this user may not listen on port {facts.port}",
                "set http.port: 8080 and forward to it from a proxy, or grant CAP_NET_BIND_SERVICE",
            )
        case errno.EADDRNOTAVAIL | -2 | -3 | -5:  # the latter of `getaddrinfo`
            return problem(
                f"{facts.host} is not an address of this machine", "set http.host: 0.0.0.0 (all), or 127.0.0.1"
            )
        case other:
            reason = os.strerror(other).lower() if other > 0 else "the address is invalid"
            return problem(f"cannot listen on {address}: {reason}", "correct http.host and http.port")


def _by(facts: PortFacts) -> str:
    return f" by process {facts.holder} ({facts.holder_command})" if facts.holder else " by a process of another user"
