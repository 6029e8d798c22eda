"""A bucket of an S3-compatible server over real HTTP: it stores objects and uploads in parts, and checks the key id."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5

from aiohttp import web

BUCKET = "files"
KEY_ID, SECRET = "AKIDEXAMPLE", "an access key that is secret"


class Bucket:
    """`failing`: a status with which every request is answered. `failing_part`: a part that is refused."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}  # unfinished ones, by id
        self.failing: int | None = None
        self.failing_part: int | None = None
        self.requests: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(f"{request.method} {request.path_qs}")
        refusal = self._refusal(request)
        return refusal or self._answer(request, body)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self.failing:
            return _error(self.failing, "InternalError")
        if f"Credential={KEY_ID}/" not in request.headers.get("authorization", ""):
            return _error(403, "InvalidAccessKeyId")
        return None if request.path.split("/")[1] == BUCKET else _error(404, "NoSuchBucket")

    def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        key, query = request.path.removeprefix(f"/{BUCKET}/"), request.query
        if request.method == "GET" and "list-type" in query:
            return _xml(f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>0</KeyCount></ListBucketResult>")
        if request.method == "POST" or "uploadId" in query:
            return self._in_parts(request, key, body)
        if request.method == "PUT":
            return self._put(request, key, body)
        return self._get(request, key)

    def _put(self, request: web.Request, key: str, body: bytes) -> web.StreamResponse:
        self.objects[key] = body
        names = ("content-type", "content-disposition")
        self.headers[key] = {name: request.headers[name] for name in names if name in request.headers}
        return web.Response(headers={"etag": _etag(body)})

    def _get(self, request: web.Request, key: str) -> web.StreamResponse:
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        body = self.objects[key]
        headers = {"etag": _etag(body), "last-modified": "Mon, 30 Nov 2026 16:00:00 GMT"}
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if found is None:
            return web.Response(body=body, headers=headers)
        start, end = int(found[1]), min(int(found[2]) + 1, len(body))
        headers["content-range"] = f"bytes {start}-{end - 1}/{len(body)}"
        return web.Response(status=206, body=body[start:end], headers=headers)

    def _in_parts(self, request: web.Request, key: str, body: bytes) -> web.StreamResponse:
        upload_id = request.query.get("uploadId")
        if upload_id is None:
            upload_id = f"upload-{len(self.requests)}"
            self.uploads[upload_id] = {}
            self.headers[key] = {"content-type": request.headers.get("content-type", "")}
            return _xml(
                f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "DELETE":
            self.uploads.pop(upload_id, None)
            return web.Response(status=204)
        if request.method == "PUT":
            number = int(request.query["partNumber"])
            if number == self.failing_part:
                return _error(403, "AccessDenied")
            self.uploads[upload_id][number] = body
            return web.Response(headers={"etag": _etag(body)})
        parts = self.uploads.pop(upload_id)
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        etag = _etag(self.objects[key])
        return _xml(f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")


@asynccontextmanager
async def serving(bucket: Bucket) -> AsyncIterator[str]:
    """The endpoint of a server on loopback."""
    app = web.Application(client_max_size=64_000_000)
    app.router.add_route("*", "/{path:.*}", bucket.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _etag(body: bytes) -> str:
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'


def _xml(text: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{text}', content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    answer = _xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")
    answer.set_status(status)
    return answer
