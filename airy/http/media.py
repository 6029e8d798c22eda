"""`/media.upload`, and the files it stored at `/media/<name>`."""

from contextlib import AsyncExitStack

import anyio
from msgspec import Struct

from airy.http import media_file
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission, forbidden
from airy.http.body_reader import CLOSE
from airy.http.field_error import FieldError
from airy.http.multipart_form import FormFile, FormLimits, IncomingForm, MultipartForm
from airy.http.ports import ApiContext
from airy.http.problems import Problem
from airy.http.resource import Resource, StreamRoute
from airy.http.response_schemas import UploadedMediaSchema
from airy.http.visitor_directory import visit_of
from airy.media.library import FileTooLarge, IncomingFile, MediaLibrary, StoredFile, TypeNotAccepted

FIELD = "file"
FILE_BYTES_MAX = 536_870_912  # of any configuration
UPLOAD_BYTES_PER_S_MIN = 16_384  # a file that arrives more slowly than that on average is cut
UPLOAD_S = 30.0  # for a file of any size, besides


class UploadFields(Struct, frozen=True):
    """Other parts of the form are ignored."""


FORM = MultipartForm(UploadFields, FormLimits(files_max=1, file_bytes_max=FILE_BYTES_MAX, fields_max=4), files=(FIELD,))


class _Upload:
    """The file of one form. Implements `FileSink`."""

    def __init__(self, media: MediaLibrary, held: AsyncExitStack) -> None:
        self._media = media
        self._held = held
        self.file: IncomingFile | None = None

    async def open(self, described: FormFile) -> "_Upload":
        if described.field != FIELD:
            raise _invalid(f"the part of the file is called {FIELD}")
        if not described.filename.strip():
            message = "the file has no name: send the part with a filename"
            raise Problem(422, message, fields=[FieldError(FIELD, message)])
        self.file = await self._held.enter_async_context(self._media.receive(described.filename))
        return self

    async def write(self, part: bytes, /) -> None:
        assert self.file is not None
        await self.file.write(part)

    async def finish(self) -> None:
        """The file is stored once the whole form has proved valid."""

    async def abort(self) -> None:
        """The file is removed when the exit stack ends."""


@action(
    "/media.upload",
    "/media.uploadFile",
    permission=Permission.UPLOAD,
    body=FORM,
    returns=UploadedMediaSchema,
    any_origin=True,
)
async def upload(api: ApiContext, request: ActionRequest[IncomingForm[UploadFields]]) -> Reply:
    """Store a file, the part `file` of a form, and answer its address. The same bytes get the same address."""
    await _check_origin(api, request)
    limits = api.media.limits
    try:
        with anyio.fail_after(UPLOAD_S + limits.bytes_max / UPLOAD_BYTES_PER_S_MIN):
            stored = await _receive(api.media, request.body)
    except TimeoutError as error:
        raise Problem(408, "the file took too long to arrive", headers=CLOSE) from error
    except FileTooLarge as error:
        raise Problem(413, str(error), fields=[FieldError(FIELD, str(error))], headers=CLOSE) from error
    except TypeNotAccepted as error:
        raise Problem(415, str(error), fields=[FieldError(FIELD, str(error))]) from error
    return Reply(UploadedMediaSchema(media_url=stored.url))


async def _check_origin(api: ApiContext, request: ActionRequest[IncomingForm[UploadFields]]) -> None:
    """Visitors upload from every website that their chat plugin allows, others from the origins of the API."""
    visit = visit_of(request.caller)
    if visit is not None:
        await api.commands.visitors.admit(visit, request.origin)
    elif request.origin is not None:
        raise forbidden()


async def _receive(media: MediaLibrary, form: IncomingForm[UploadFields]) -> StoredFile:
    async with AsyncExitStack() as held:
        upload = _Upload(media, held)
        await form.receive(upload.open)
        if upload.file is None:
            raise _invalid("is required")
        return await upload.file.store()


def _invalid(message: str) -> Problem:
    return Problem(400, message, fields=[FieldError(FIELD, message)])


RESOURCE = Resource(
    name="media",
    component="media-resolver",
    actions=(upload,),
    streams=(
        StreamRoute(
            path=media_file.PATH,
            permission=Permission.OPEN,
            media_type="*/*",
            summary="A stored file, whole or a range of it. Its address is signed, so no token is needed.",
            query=media_file.QUERY,
            problems=(404, 416),
            methods=("get", "head"),
            make=media_file.route,
        ),
    ),
)
