"""`multipart/form-data`: text fields are validated like JSON, files are streamed to sinks that the handler opens."""

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio
from msgspec import Struct
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from airy.http.body_kinds import BodyKind, BodySource, CommonFields, Document, IncomingBytes, Schemas
from airy.http.body_reader import CLOSE
from airy.http.problems import Problem
from airy.http.request_bodies import content_type_of, convert

F = TypeVar("F", bound=Struct)

MEDIA_TYPE = "multipart/form-data"
ABORT_S = 5.0


class FormLimits(Struct, frozen=True, kw_only=True):
    files_max: int = 1
    file_bytes_max: int = 26_214_400
    fields_max: int = 32
    field_bytes_max: int = 8_192
    stalled_s: float = 15.0  # without a part of the body

    @property
    def bytes_max(self) -> int:
        headers = 1_024 * (self.files_max + self.fields_max)
        return self.files_max * self.file_bytes_max + self.fields_max * self.field_bytes_max + headers


class FormFile(Struct, frozen=True):
    """A file of the form, as the client describes it. Nothing of it is trusted: `filename` may be any text."""

    field: str
    filename: str
    media_type: str


class FileSink(Protocol):
    """Receives the bytes of one file. Exactly one of `finish` and `abort` ends it."""

    async def write(self, part: bytes, /) -> None: ...
    async def finish(self) -> None: ...
    async def abort(self) -> None: ...


OpenSink = Callable[[FormFile], Awaitable[FileSink]]
"""Opens the sink of a file, or raises `Problem` for a file that is not accepted."""


class MultipartForm(BodyKind["IncomingForm[F]"], Generic[F]):
    """`files`: parts that are files even if the client names no file; its name is empty then."""

    def __init__(self, fields: type[F], limits: FormLimits | None = None, *, files: tuple[str, ...] = ()) -> None:
        self.fields = fields
        self.files = files
        self.problems = (422,) if files else ()
        self.limits = limits or FormLimits()
        self.types = (fields,)

    async def read(self, source: BodySource) -> tuple["IncomingForm[F]", CommonFields]:
        media_type, options = parse_options_header(content_type_of(source.headers))
        if media_type != MEDIA_TYPE or not options.get("boundary"):
            raise Problem(415, f"send content-type: {MEDIA_TYPE} with a boundary")
        return IncomingForm(source, options["boundary"], self), CommonFields()

    def describe(self, schemas: Schemas) -> Document:
        files = {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
        schema = {"allOf": [schemas[str(self.fields)], files]}
        return {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}}


class IncomingForm(Generic[F]):
    """A form that is read once, by `receive`."""

    def __init__(self, source: BodySource, boundary: str, form: MultipartForm[F]) -> None:
        limits = form.limits
        self._body = IncomingBytes(source, limits.bytes_max, limits.stalled_s)
        self._limits = limits
        self._struct = form.fields
        self._files_named = form.files
        self._parser = PushMultipartParser(
            boundary,
            max_segment_size=max(limits.file_bytes_max, limits.field_bytes_max),
            max_segment_count=limits.files_max + limits.fields_max,
            strict=True,
        )
        self._fields: dict[str, object] = {}
        self._files: list[FormFile] = []
        self._segment: MultipartSegment | None = None
        self._text = bytearray()  # of the current field
        self._sink: FileSink | None = None  # of the current file

    async def receive(self, open_sink: OpenSink) -> tuple[F, list[FormFile]]:
        """Read the form. Returns its fields, and the files whose sinks are finished.

        Raises `Problem`: 400 for an invalid form or field, 413 over a limit, 408; and `ClientDisconnected`. The sink
        that is open then is aborted; the caller removes finished files it has no use for.
        """
        try:
            async for part in self._body:
                for event in self._parser.parse(part):
                    await self._take(event, open_sink)
            self._parser.close()
        except ParserLimitReached as error:
            raise Problem(413, f"the form is too large: {_reason(error)}", headers=CLOSE) from error
        except MultipartError as error:
            raise Problem(400, f"the body is not a valid form: {_reason(error)}") from error
        finally:
            if self._sink is not None:
                with anyio.move_on_after(ABORT_S, shield=True):
                    await self._sink.abort()
        return convert(self._fields, self._struct), self._files

    async def _take(self, event: MultipartSegment | bytearray | bytes | None, open_sink: OpenSink) -> None:
        if isinstance(event, MultipartSegment):
            await self._begin(event, open_sink)
        elif event is None:
            await self._end()
        elif self._sink is not None:
            await self._sink.write(bytes(event))
        else:
            self._text += event
            if len(self._text) > self._limits.field_bytes_max:
                assert self._segment is not None
                raise Problem(413, f"field {self._segment.name} is over {self._limits.field_bytes_max} bytes")

    async def _begin(self, segment: MultipartSegment, open_sink: OpenSink) -> None:
        self._segment = segment
        self._text.clear()
        if segment.filename is None and segment.name not in self._files_named:
            if len(self._fields) >= self._limits.fields_max:
                raise Problem(413, f"the form has more than {self._limits.fields_max} fields")
            return
        if len(self._files) >= self._limits.files_max:
            raise Problem(413, f"the form has more than {self._limits.files_max} files")
        file = FormFile(segment.name or "", segment.filename or "", segment.content_type or "application/octet-stream")
        self._sink = await open_sink(file)
        self._files.append(file)

    async def _end(self) -> None:
        assert self._segment is not None
        if self._sink is not None:
            sink, self._sink = self._sink, None
            await sink.finish()
        elif self._segment.filename is None:
            try:
                self._fields[self._segment.name or ""] = self._text.decode()
            except UnicodeDecodeError as error:
                raise Problem(400, f"field {self._segment.name} is not UTF-8") from error


def _reason(error: MultipartError) -> str:
    text = str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
