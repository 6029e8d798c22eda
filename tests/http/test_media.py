"""`/media.upload` and `/media/<name>`: M12, MED-1, and attacks by files."""

from hashlib import sha1
from urllib.parse import urlsplit

import anyio
import pytest

from airy.errors import Unavailable
from airy.http import byte_range
from airy.http.auth import TokenAuthenticator
from airy.http.configured_tokens import ConfiguredTokens
from airy.media import file_name
from airy.media.library import MediaLimits
from airy.media.media_type import is_inline, media_type
from airy.media.storage import StorageRefusal
from airy.model import ids
from airy.permissions import Role
from airy.secret import Secret
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi import AsgiResponse, DelayedPart, call

GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
BOUNDARY = "a-boundary"


def form(content: bytes, filename: str | None = "holiday.gif", *, name: str = "file") -> bytes:
    file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: text/html'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


async def post(
    api: ApiHarness, body: bytes | list[bytes | DelayedPart], *, path: str = "/media.upload", token: str = TOKEN
) -> AsgiResponse:
    headers = {"authorization": f"Bearer {token}", "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await call(api.app, "POST", path, body=body, headers=headers.items())


async def get(api: ApiHarness, url: str, *, method: str = "GET", **headers: str) -> AsgiResponse:
    parts = urlsplit(url)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(api.app, method, parts.path, query=parts.query, headers=given.items())


async def uploaded(api: ApiHarness, content: bytes, filename: str = "holiday.gif") -> str:
    answer = await post(api, form(content, filename))
    assert answer.status == 200, answer.body
    url: str = answer.json()["media_url"]
    return url


async def test_med_1_m12_lib_2_a_file_is_stored_once_under_the_hash_of_its_bytes() -> None:
    async with api_harness() as api:
        url = await uploaded(api, GIF)
        name = f"{ids.from_sha1(sha1(GIF).hexdigest())}.gif"
        assert urlsplit(url).path == f"/media/{name}"
        assert api.storage.puts == [f"files/{name}"]
        assert api.storage.objects == {f"files/{name}": GIF}
        assert api.storage.headers[f"files/{name}"] == {"Content-Type": "image/gif"}
        assert await uploaded(api, GIF, "another.gif") == url
        again = await post(api, form(GIF), path="/media.uploadFile")
        assert again.json()["media_url"] == url


async def test_a_stored_file_is_served_to_all_who_have_its_address() -> None:
    async with api_harness() as api:
        url = await uploaded(api, PNG, "a.png")
        answer = await get(api, url)
        assert (answer.status, answer.body) == (200, PNG)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-length"] == str(len(PNG))
        assert answer.headers["content-disposition"] == "inline"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert [value for name, value in answer.raw_headers if name == "cache-control"] == [
            "private, max-age=31536000, immutable"
        ]
        head = await get(api, url, method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PNG)))
        fresh = await get(api, url, if_none_match=answer.headers["etag"])
        assert (fresh.status, fresh.body) == (304, b"")


async def test_a_range_of_a_file_is_served() -> None:
    async with api_harness() as api:
        url = await uploaded(api, PNG, "a.png")
        size = len(PNG)
        for header, start, end in (
            ("bytes=0-99", 0, 100),
            (f"bytes={size - 5}-", size - 5, size),
            ("bytes=-7", size - 7, size),
        ):
            answer = await get(api, url, range=header)
            assert (answer.status, answer.body) == (206, PNG[start:end])
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        beyond = await get(api, url, range=f"bytes={size}-")
        assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
        changed = await get(api, url, range="bytes=0-9", if_range='"another"')
        assert (changed.status, len(changed.body)) == (200, size)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=5-999", (5, 10)),
        ("bytes=-999", (0, 10)),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_a_range_header_means_what_the_standard_says(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range.parse(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=99-100"])
def test_a_range_behind_the_end_is_not_satisfiable(header: str) -> None:
    with pytest.raises(byte_range.NotSatisfiable):
        byte_range.parse(header, 10)


async def test_an_address_without_its_signature_opens_nothing() -> None:
    async with api_harness() as api:
        url = await uploaded(api, GIF)
        name, query = urlsplit(url).path.removeprefix("/media/"), urlsplit(url).query
        other = await uploaded(api, PNG, "b.png")
        wrong = [
            f"/media/{name}",
            f"/media/{name}?signature=",
            f"/media/{name}?{query}x",
            f"/media/{name}?{query}&expires=9999999999",
            f"/media/{name}?{query}&signature=x",
            f"/media/{name}?{urlsplit(other).query}",
            f"/media/{name}?signature=%ff%fe",
            f"/media/{'x' * 300}?{query}",
            f"/media/..%2fsealing.key?{query}",
        ]
        assert {(await get(api, each)).status for each in wrong} == {403}
        for path in ("/media/../files/" + name, "/media/a/b", "/media/"):
            assert (await get(api, f"{path}?{query}")).status in {403, 404}
        api.storage.objects.clear()
        async with api_harness() as empty:
            assert (await get(empty, url)).status == 404


async def test_addresses_expire_where_it_is_configured_and_are_stable_until_then() -> None:
    async with api_harness(media_valid_s=3_600) as api:
        url = await uploaded(api, GIF)
        assert await uploaded(api, GIF) == url
        assert (await get(api, url)).status == 200
        await anyio.sleep(7_300)
        assert (await get(api, url)).status == 403
        assert (await get(api, await uploaded(api, GIF))).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(GIF, None), 422),
        (form(GIF, ""), 422),
        (form(GIF, name="other"), 400),
        (f"--{BOUNDARY}--\r\n".encode(), 400),
        (form(b""), 400),
        (form(GIF)[:-10], 400),
        (form(b"x" * 5_001), 413),
        (form(b"<html>"), 415),
    ],
    ids=["no-name", "empty-name", "other-part", "no-part", "empty", "cut", "large", "type"],
)
async def test_a_form_that_is_not_accepted_says_why_and_leaves_nothing(body: bytes, status: int) -> None:
    async with api_harness(media_limits=MediaLimits(bytes_max=5_000, types=("image/*",))) as api:
        answer = await post(api, [body[:100], body[100:]])
        assert (answer.status, bool(answer.json()["message"])) == (status, True)
        assert api.storage.puts == []
        await uploaded(api, GIF)


async def test_a_body_that_is_no_form_is_a_415() -> None:
    async with api_harness() as api:
        assert (await api.post("/media.upload", {"file": "x"})).status == 415


async def test_a_client_that_stalls_or_leaves_gives_its_place_back() -> None:
    body = form(GIF)
    async with api_harness(media_limits=MediaLimits(files_at_once_max=1)) as api:
        assert (await post(api, [body[:-20], DelayedPart(body[-20:], 60.0)])).status == 408
        assert (await post(api, [body[:-20], *([DelayedPart(b"", 14.0)] * 400)])).status == 408
        await uploaded(api, GIF)
        assert len(api.storage.puts) == 1


async def test_more_uploads_at_once_than_allowed_are_a_503() -> None:
    body = form(GIF)
    async with api_harness(media_limits=MediaLimits(files_at_once_max=1)) as api:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, api, [body[:-20], DelayedPart(body[-20:], 5.0)])
            await anyio.sleep(1)
            busy = await post(api, body)
        assert (busy.status, busy.headers["retry-after"]) == (503, "1")
        await uploaded(api, GIF)


async def test_a_storage_that_fails_is_temporary_and_one_that_rejects_is_a_400() -> None:
    async with api_harness() as api:
        url = await uploaded(api, PNG, "a.png")
        api.storage.error = Unavailable("the storage of files is unavailable", retry_after_s=5.0)
        answer = await post(api, form(GIF))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await get(api, url)).status == 503
        api.storage.error = StorageRefusal("the storage rejects the file")
        assert (await post(api, form(GIF))).status == 400
        assert (await get(api, url)).status == 503
        api.storage.error = None
        await uploaded(api, GIF)


async def test_visitors_and_agents_upload_and_others_do_not() -> None:
    tokens = {role.value: Secret(f"the-token-of-the-{role.value}") for role in Role}
    authenticator = TokenAuthenticator(ConfiguredTokens(tokens, {role.value: role for role in Role}))
    async with api_harness(authenticators=[authenticator]) as api:
        statuses = {role: (await post(api, form(GIF), token=tokens[role.value].reveal())).status for role in Role}
    allowed = {Role.ADMIN, Role.AGENT, Role.VISITOR}
    assert statuses == {role: 200 if role in allowed else 403 for role in Role}


@pytest.mark.parametrize(
    ("client_name", "extension"),
    [
        ("../../etc/passwd", ""),
        ("..\\..\\windows\\system.ini", ".ini"),
        ("a.png/../../b", ""),
        ("photo.JPG", ".JPG"),
        ("archive.tar.gz", ".gz"),
        ("x.p\x00ng", ""),
        ("x.png\r\nSet-Cookie: a=b", ""),
        ("x.", ""),
        (".htaccess", ".htaccess"),
        ("x." + "a" * 17, ""),
        ("x.pńg", ""),
    ],
)
def test_nothing_but_a_plain_extension_of_a_file_name_is_used(client_name: str, extension: str) -> None:
    assert file_name.extension(client_name) == extension
    assert file_name.is_name(ids.derive("any bytes") + extension)


@pytest.mark.parametrize(
    ("head", "extension", "expected"),
    [
        (PNG, ".html", "image/png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "image/webp"),
        (b"\x00\x00\x00\x18ftypmp42", ".mp4", "video/mp4"),
        (b"%PDF-1.7", "", "application/pdf"),
        (b"\xef\xbb\xbf <!DOCTYPE html>", ".png", "text/html"),
        (b"<script>alert(1)</script>", ".jpg", "text/html"),
        (b'<?xml version="1.0"?><svg xmlns="x">', ".png", "image/svg+xml"),
        (b"no image at all", ".png", "application/octet-stream"),
        (b"a,b\n1,2\n", ".csv", "text/csv"),
        (b"alert(1)", ".js", "application/octet-stream"),
        (b'<?xml version="1.0" encoding="UTF-8"?><invoice/>', ".bin", "application/xml"),
        (b"<invoice/>", ".XML", "application/xml"),
        (b"<invoice/>", ".txt", "text/html"),
        (b"x", ".html", "application/octet-stream"),
        (b"x", ".xhtml", "application/octet-stream"),
        (b"x", ".svg", "image/svg+xml"),
        (b"PK\x03\x04", ".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"MZ\x90", ".exe", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file_comes_from_its_bytes_and_then_from_its_name(
    head: bytes, extension: str, expected: str
) -> None:
    found = media_type(head, extension)
    assert found == expected
    assert is_inline(found) == (found.split("/")[0] in {"image", "video"} and "svg" not in found)


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (b"<html><script>alert(1)</script>", "page.html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image.svg"),
        (b"<script>alert(1)</script>", "image.png"),
        (b"alert(1)", "code.js"),
        (b"%PDF-1.7", "document.pdf"),
        (b'<?xml version="1.0"?><a xmlns="http://www.w3.org/1999/xhtml"/>', "invoice.xml"),
    ],
)
async def test_what_a_browser_could_run_is_downloaded_and_may_run_nothing(content: bytes, filename: str) -> None:
    async with api_harness() as api:
        answer = await get(api, await uploaded(api, content, filename))
        assert answer.body == content
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        (headers,) = api.storage.headers.values()
        assert headers["Content-Disposition"] == "attachment"


async def test_an_image_that_is_also_a_page_is_an_image() -> None:
    async with api_harness() as api:
        answer = await get(api, await uploaded(api, GIF + b"/*<script>alert(1)</script>*/", "image.html"))
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["x-content-type-options"] == "nosniff"
