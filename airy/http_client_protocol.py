"""aiohttp's response protocol, for calls in which the status counts although the body is badly framed.

It differs in three ways. A response reaches the parser once its head is complete, and a rejected head is kept, because
the parser discards a head together with the body it rejects. A rejected body fails its readers, which aiohttp leaves
waiting. Bytes outside of a call close the connection, because they would be taken for the next response.
"""

import re
from collections.abc import Mapping
from typing import Literal

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from msgspec import Struct

HEAD_BYTES_MAX = 65_536
PREFIX = b"HTTP/1."
STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([1-9][0-9]{2})(?=[ \r\n])")
SWITCHING_PROTOCOLS = 101
CLASSES_OF_FINAL_STATUSES = frozenset({b"2", b"3", b"4", b"5"})
WITHOUT_BODY = frozenset({204, 304})


class ResponseHead(Struct, frozen=True):
    status: int
    headers: dict[str, str]  # lower-case names


def announces_forbidden_body(status: int, headers: Mapping[str, str]) -> bool:
    """Whether bytes may follow that belong to no response. Names of `headers` are in lower case."""
    return status in WITHOUT_BODY and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers)


class ResponseProtocol(ResponseHandler):
    _phase: Literal["idle", "head", "body"] = "idle"
    _received = b""  # the head so far; once the parser has rejected it, with the bytes that came with its end
    _head_end = 0
    _body: StreamReader | None = None

    def expect_response(self, *, skip_body: bool) -> None:
        self._phase, self._received, self._head_end, self._body = "head", b"", 0, None
        self.set_response_params(read_until_eof=True, auto_decompress=False, skip_payload=skip_body)

    def end_response(self) -> None:
        self._phase, self._received, self._body = "idle", b"", None

    def head(self) -> ResponseHead | None:
        """The head that the parser has rejected, read tolerantly; None if it is incomplete or not of HTTP/1."""
        return parse_head(self._received[: self._head_end])

    def after_head(self) -> bytes:
        """What arrived together with the end of the head."""
        return self._received[self._head_end :]

    def data_received(self, data: bytes) -> None:
        if self._phase == "body":
            super().data_received(data)
        elif self._phase == "head":
            self._head_received(data)
        elif data and self.transport is not None:
            self.transport.abort()

    def _head_received(self, data: bytes) -> None:
        searched = max(0, len(self._received) - 2)
        received = self._received + data if self._received else data
        while (end := _end_of_head(received, searched)) is not None:
            if not _is_interim(received):
                self._head_end = end
                break
            received, searched = received[end:], 0
        self._received = received
        if self._head_end or len(received) > HEAD_BYTES_MAX or not received.startswith(PREFIX[: len(received)]):
            self._phase = "body"
            super().data_received(received)
            if self.exception() is None:
                self._received = b""  # the parser has taken it

    def expect_body(self, body: StreamReader) -> None:
        """`body` is about to be read. Bytes that the parser rejects fail its reader, also those it has rejected."""
        self._body = body
        self._fail_body()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        self._fail_body()

    def _fail_body(self) -> None:
        failure, body = self.exception(), self._body
        if failure is not None and body is not None and not body.is_eof():
            if body.exception() is None:
                body.set_exception(failure)
            body.feed_eof()  # a reader that was woken in this turn of the loop would not see the exception and wait


def parse_head(head: bytes) -> ResponseHead | None:
    """Lines that are no header are skipped; values of repeated headers are joined."""
    status = STATUS_LINE.match(head)
    if status is None:
        return None
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\n")[1:]:
        name, colon, value = line.partition(":")
        key = name.lower()
        if colon and key and key.strip() == key:
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return ResponseHead(int(status[1]), headers)


def _is_interim(head: bytes) -> bool:
    """Whether another response follows it: 1xx without 101, which switches protocols."""
    if head[9:10] in CLASSES_OF_FINAL_STATUSES:  # nearly always; cheaper than the pattern
        return False
    status = STATUS_LINE.match(head)
    return status is not None and int(status[1]) < 200 and int(status[1]) != SWITCHING_PROTOCOLS


def _end_of_head(received: bytes, start: int) -> int | None:
    """The index after the empty line, which ends in CR LF or LF alone."""
    crlf = received.find(b"\n\r\n", start)
    lf = received.find(b"\n\n", start, crlf if crlf >= 0 else len(received))
    if lf >= 0:
        return lf + 2
    return crlf + 3 if crlf >= 0 else None
