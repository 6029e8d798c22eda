"""Checks of the data directory: disk, secrets, journal, stores. Pure."""

import errno
import os
from pathlib import Path

from airy import topics
from airy.app.doctor.check import Findings, each, ok, problem, warning
from airy.app.doctor.facts import DirectoryFacts, LocalStoreFacts, LogFacts, SecretFileFacts
from airy.store.factory import StoreFacts

MIB, GIB = 1_048_576, 1_073_741_824
FREE_BYTES_MIN = 64 * MIB
FREE_BYTES_WANTED = GIB
FREE_FILES_MIN = 100
OTHERS = 0o077
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"})
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def directory(facts: DirectoryFacts) -> Findings:
    path = facts.path
    if facts.kind == "other":
        return problem(f"{path} is not a directory", f"move {path} away, or set data.directory to another one")
    if not facts.writable:
        why = f"{facts.parent} belongs to {facts.owner}, and this process runs as {facts.user}"
        return problem(
            f"{path} cannot be {'written' if facts.kind == 'directory' else 'created'}: {why}",
            f"sudo chown -R {facts.user} {facts.parent}, or set data.directory",
        )
    return ok(f"{path} is writable" if facts.kind == "directory" else f"{path} is created at the first start")


def space(facts: DirectoryFacts) -> Findings:
    at = facts.parent
    free = f"{facts.free_bytes / MIB:,.0f} MiB of {facts.total_bytes / MIB:,.0f} MiB are free"
    step = f"free space on the disk of {at}, or set data.directory to a larger one"
    if facts.write_error in NO_ROOM:
        quota = " (a quota)" if facts.write_error == errno.EDQUOT else ""
        return problem(f"the disk of {at} is full{quota}: {free}", step)
    if facts.write_error:
        return _unwritable(facts)
    if 0 <= facts.free_files < FREE_FILES_MIN:
        return problem(f"the file system of {at} has {facts.free_files} inodes left", step)
    if facts.free_bytes < FREE_BYTES_WANTED:
        say, little = (problem, "nearly full") if facts.free_bytes < FREE_BYTES_MIN else (warning, "filling up")
        return say(f"the disk of {at} is {little}: {free}", step)
    return ok(free)


def _unwritable(facts: DirectoryFacts) -> Findings:
    if facts.write_error == errno.EFBIG:
        return problem(
            "this process may not write a file of 256 KiB (RLIMIT_FSIZE)",
            "ulimit -f unlimited before the start (systemd: LimitFSIZE=infinity)",
        )
    reason = os.strerror(facts.write_error).lower() if facts.write_error > 0 else "unknown"
    return problem(f"a file cannot be written and synced in {facts.parent}: {reason}", "check the disk: dmesg | tail")


def file_system(facts: DirectoryFacts) -> Findings:
    if facts.file_system in NETWORK_FILE_SYSTEMS:
        return problem(
            f"{facts.parent} is on {facts.file_system}: locks and syncs of a network file system cannot be relied on",
            "set data.directory to a local disk, and move the directory while Airy does not run",
        )
    return ok(facts.file_system or "unknown type")


def secrets(facts: DirectoryFacts) -> Findings:
    return each((_readable(file) for file in facts.secrets if file.mode & OTHERS), "only this user can read them")


def _readable(file: SecretFileFacts) -> Findings:
    return problem(f"{file.path} can be read by others (mode {file.mode:o})", f"chmod 600 {file.path}")


def sealing_key(facts: DirectoryFacts) -> Findings:
    if facts.sealing_key:
        return problem(f"the sealing key is unusable: {facts.sealing_key}", "restore the key file from your backup")
    if facts.sealing_key_missing:
        return ok("created at the first start")
    return ok("usable")


def sealing_key_kept(facts: DirectoryFacts) -> Findings:
    """A key that is created anew opens nothing that was sealed before."""
    has_journal = any(file.path.name == "journal.db" for file in facts.secrets)
    if facts.sealing_key_missing and has_journal:
        return problem(
            "the journal exists and the sealing key is missing: tokens of channels and secrets of webhooks are lost",
            "restore sealing.key from your backup (or set security.keyFile); else connect every channel again",
        )
    return ok("present, or nothing was sealed yet")


# --- the journal


def journal(facts: LogFacts) -> Findings:
    found = facts.journal
    match found.state:
        case "missing":
            return ok("created at the first start")
        case "foreign":
            return problem(f"{found.path} is not a journal of Airy", f"move {found.path} away, or set data.directory")
        case "newer":
            return problem(
                f"{found.path} has version {found.version}, which this Airy cannot read",
                "install the version of Airy that wrote it, or a later one",
            )
        case "damaged":
            return problem(
                f"{found.path} is damaged: {found.detail}",
                "stop Airy, keep a copy of the directory, and restore it from your backup",
            )
        case "unreadable":
            return problem(f"{found.path} cannot be read: {found.detail}", f"check the owner and mode of {found.path}")
    return ok("every page was read" if found.checked else "readable; too large to read every page here")


def journal_lock(facts: LogFacts) -> Findings:
    if not facts.holder:
        return ok("no process has it open")
    if facts.answering:
        return ok(f"process {facts.holder} has it open, which answers")
    command = f" ({facts.holder_command})" if facts.holder_command else ""
    return problem(
        f"process {facts.holder}{command} has {facts.directory} open, and no instance answers at {facts.url}",
        f"kill {facts.holder}, or ask it where it listens: airy doctor --url …",
    )


def journal_partitions(facts: LogFacts) -> Findings:
    declared = {topic.name: topic.partitions for topic in topics.ALL}
    wrong = [
        (name, count, declared[name])
        for name, count in facts.journal.partitions.items()
        if name in declared and declared[name] != count
    ]
    return each(
        (
            problem(
                f"{name} has {count} partitions in the journal, and this version declares {wanted}",
                "install the version of Airy that wrote it",
            )
            for name, count, wanted in wrong
        ),
        f"{len(facts.journal.partitions)} topics",
    )


# --- the stores


def store(facts: LocalStoreFacts) -> Findings:
    return each((_store(each_) for each_ in facts.stores if each_.state not in ("empty", "current")), "readable")


def _store(found: StoreFacts) -> Findings:
    match found.state:
        case "stale":
            return warning(
                f"{found.path} is of another version: the next start rebuilds it from the log, which takes a while",
                "nothing; the API answers when it has caught up",
            )
        case "foreign":
            return problem(
                f"{found.path} is not a store of Airy", f"move {found.path} away; the store is rebuilt from the log"
            )
        case "damaged":
            return warning(
                f"{found.path} is damaged: {found.detail}",
                f"stop Airy and rm {found.path}*; the store is rebuilt from the log",
            )
        case _:
            return problem(f"{found.path} cannot be read: {found.detail}", f"check the owner and mode of {found.path}")


def store_log(facts: LocalStoreFacts) -> Findings:
    marks = {each_.path: each_.last_applied for each_ in facts.stores if each_.last_applied is not None}
    other = [path for path, mark in marks.items() if path in facts.in_log and facts.in_log[path] != mark.fingerprint]
    return each((_of_another_log(path) for path in other), "of the configured log")


def _of_another_log(path: Path) -> Findings:
    return problem(
        f"{path} was folded from another log than the configured one",
        f"put the right log back (bus, data.directory); if the log was replaced on purpose: stop Airy, rm {path}*",
    )
