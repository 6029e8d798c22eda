"""What a failed call is reported as: a sentence about the connection or the answer, never an exception's class."""

import os
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

DETAIL_CHARS_MAX = 200


def connect_problem(error: Exception, within_s: float) -> str:
    """Of a failure before the request was sent."""
    if isinstance(error, TimeoutError):
        return f"time-out: no connection within {within_s:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        refusal = error.certificate_error
        return f"the certificate is refused: {getattr(refusal, 'verify_message', '') or refusal}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the host name cannot be resolved: {_system_text(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connection_problem(error.os_error)
    if isinstance(error, OSError):
        return _connection_problem(error)
    return "the connection cannot be established"


def answer_problem(error: Exception | None, total_s: float, *, after_head: bool) -> str:
    """Of a failure after the request was sent; no error: its time was over."""
    if error is None:
        return "time-out: the answer did not end" if after_head else f"time-out: no answer in {total_s:g} s"
    if after_head:
        return "the answer is incomplete or badly framed"
    if isinstance(error, HttpProcessingError):
        return f"the answer is not valid HTTP: {error.message.partition(':')[0][:DETAIL_CHARS_MAX]}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer"
    return _connection_problem(error) if isinstance(error, OSError) else "the connection failed before an answer"


def _connection_problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or _system_text(error)).replace('_', ' ').lower()}"
    return f"the connection failed: {os.strerror(error.errno) if error.errno else _system_text(error)}"


def _system_text(error: OSError) -> str:
    return (error.strerror or str(error) or "no reason is known")[:DETAIL_CHARS_MAX]
