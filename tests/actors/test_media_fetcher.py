"""The media fetcher over the in-memory log and a store, with hosts that store and behave, in virtual time."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.change_sink import ReaderLimits
from airy.actors.media_fetcher import MediaFetcher, MediaSources
from airy.change_readers import MEDIA_FETCHER
from airy.errors import Unavailable
from airy.http_client import Response
from airy.media.attachment import Attachment
from airy.media.attachment_download import AttachmentDownloads, origin
from airy.media.library import MediaLimits
from airy.model import ids, render
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.model.fact import MessageDeleted, MessageEchoed, MessageEdited, MessageReceived
from airy.secret import Secret
from airy.sources.api import Call, Source
from airy.sources.telegram.source import Telegram
from airy.sources.telegram.spec import TelegramSection
from tests.kit.builders import Chat, raw
from tests.kit.event_loops import run_seeded
from tests.kit.file_hosts import PAGE, PNG, Answer, FileHosts
from tests.kit.harness import Harness
from tests.kit.media import BASE, MemoryStorage, media_library

CDN = "https://cdn.example.net"
OTHER = "https://files.example.org"
API = "https://api.telegram.test"
TOKEN = "4711:secret-token"
IMAGE = f"{CDN}/photo.png"


class Installation:
    """A harness with a media fetcher; `open` runs it, and may be called again with the same log and storage."""

    def __init__(self, seed: int = 0, *, limits: MediaLimits | None = None) -> None:
        self.harness = Harness(seed)
        self.hosts = FileHosts()
        self.api = FileHosts(public_only=False)
        self.storage = MemoryStorage()
        self.library = media_library(self.storage, self.harness.clock, limits=limits)
        self.counts = Counter[str]()
        self.bugs: Counter[Any] = Counter()
        self.asked: list[str] = []  # file ids, of which Telegram was asked
        self.enabled = True
        self.telegram: Source | None = Telegram(TelegramSection(enabled=True, api_url=API))
        self.chat = Chat(source_channel_id=self.harness.channel.source_channel_id)

    def fetcher(self) -> MediaFetcher:
        downloads = AttachmentDownloads(self.library, guarded=self.hosts, configured=self.api)
        sources = MediaSources(
            lambda kind: self.telegram if kind == "telegram" else None,
            lambda kind: frozenset({origin(API)}) if kind == "telegram" else frozenset(),
            lambda channel: {"token": Secret(channel.token or "")},
            self._bot_api,
        )
        harness = self.harness
        return MediaFetcher(
            harness.bus,
            harness.store,
            harness.projector,
            downloads,
            sources,
            is_own=self.library.is_own,
            rebuild=lambda _: None,
            enabled=self.enabled,
            counts=self.counts,
            bugs=self.bugs,
            limits=ReaderLimits(idle_s=20.0, commit_s=0.2),
        )

    async def _bot_api(self, method: str, url: str, **options: Any) -> Response:
        """getFile of a bot: the path is the id."""
        await anyio.sleep(0.01)
        assert url == f"{API}/bot{TOKEN}/getFile"
        file_id = msgspec.json.decode(options["body"])["file_id"]
        self.asked.append(file_id)
        return Response(200, {}, msgspec.json.encode({"ok": True, "result": {"file_path": f"photos/{file_id}"}}))

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Installation"]:
        async with self.harness.open(fetcher=self.fetcher):
            await self.committed(0)
            yield self

    async def committed(self, below: int) -> None:
        """Until the reader has committed its position in every partition, `below` records before the end or less."""
        bus = self.harness.bus
        with anyio.fail_after(36_000):
            while True:
                committed = await bus.committed(MEDIA_FETCHER.group, MEDIA_FETCHER.topics)
                ends = await bus.end_offsets(MEDIA_FETCHER.topics)
                if all(tp in committed and committed[tp] >= end - below for tp, end in ends.items()):
                    return
                await anyio.sleep(5.0)

    async def settled(self) -> None:
        """Until every message has all its attachments, or the reasons why not."""
        await self.committed(0)

    def received(self, name: str, *contents: Mapping[str, object], chat: Chat | None = None) -> MessageReceived:
        fact = (chat or self.chat).received(name)
        urls = [each.get("url") for each in contents]
        return replace(fact, canonical=raw(list(contents)), content=raw({"mid": name, "urls": urls}))

    async def message(self, name: str, chat: Chat | None = None) -> Message:
        found = await self.harness.store.message((chat or self.chat).inbound_id(name))
        assert found is not None
        return found

    async def shown(self, name: str, chat: Chat | None = None) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.json.decode(
            msgspec.json.encode(render.render_message(await self.message(name, chat)))
        )
        return document


def image(url: str = IMAGE, **more: object) -> dict[str, object]:
    return {"type": "media", "kind": "image", "url": url, **more}


async def test_an_attachment_is_stored_and_its_address_replaced_in_content_and_canonical_content() -> None:
    airy = Installation()
    airy.hosts.files[IMAGE] = Answer(200, PNG)
    async with airy.open():
        await airy.harness.append(airy.received("a", image(caption="the oven")))
        before = await airy.shown("a")
        await airy.settled()
        after = await airy.shown("a")

    assert (before["content"]["urls"], before["canonical"][0]["url"]) == ([IMAGE], IMAGE)  # visible at once
    (url,) = after["content"]["urls"]
    assert url.startswith(f"{BASE}/media/") and url.partition("?")[0].endswith(".png")
    assert after["canonical"] == [image(url, caption="the oven")]
    assert after["metadata"] == before["metadata"]
    assert list(airy.storage.objects.values()) == [PNG]
    assert airy.counts["stored"] == 1


async def test_subscribers_are_told_when_the_file_is_here() -> None:
    airy = Installation()
    airy.hosts.files[IMAGE] = Answer(200, PNG)
    async with airy.open():
        await airy.harness.append(airy.received("a", image()))
        await airy.settled()
        tps = topics.EVENTS.topic_partitions
        changes = [each for tp in tps for each in await airy.harness.store.changes(tp, after=(-1, -1), changes_max=99)]
    updates = [each.change.body for each in changes if each.change.kind == "message.updated"]
    assert [IMAGE.encode() in body for body in updates] == [False]


async def test_an_echo_and_a_story_are_fetched_and_our_own_message_is_not() -> None:
    airy = Installation()
    story = f"{CDN}/story"
    airy.hosts.files = {IMAGE: Answer(200, PNG), story: Answer(200, PNG)}
    chat = airy.chat
    async with airy.open():
        echo = chat.echoed("e")
        assert isinstance(echo, MessageEchoed)
        await airy.harness.append(
            airy.received("a", {"type": "story", "kind": "mention", "url": story}),
            replace(echo, canonical=raw([image()])),
            replace(chat.queued("ours"), canonical=raw([image(f"{CDN}/ours")])),
            airy.received("own", image(f"{BASE}/media/x.png?signature=y")),
        )
        await airy.settled()
    assert sorted(airy.hosts.requests) == [IMAGE, story]


async def test_five_deliveries_a_restart_and_a_rebuilt_store_make_no_second_call() -> None:
    airy = Installation()
    airy.hosts.files[IMAGE] = Answer(200, PNG)
    gone = f"{CDN}/gone"
    facts = [airy.received("a", image()), airy.received("b", image(gone))]
    async with airy.open():
        for _ in range(5):
            await airy.harness.append(*facts)
        await airy.settled()
        calls = list(airy.hosts.requests)
        assert calls.count(IMAGE) == 1
        await airy.harness.store.wipe()
    airy.harness.projector = type(airy.harness.projector)(airy.harness.bus, airy.harness.store)
    async with airy.open():
        await airy.harness.append(*facts, airy.received("c", {"type": "text", "text": "hello"}))
        await airy.settled()
    assert airy.hosts.requests == calls
    assert airy.storage.puts == [*airy.storage.objects]


async def test_a_crash_before_the_fact_fetches_again_and_stores_one_file() -> None:
    airy = Installation()
    airy.hosts.files[IMAGE] = Answer(200, PNG, takes_s=5.0)
    async with airy.open():
        await airy.harness.append(airy.received("a", image()))
        await anyio.sleep(1.0)
    async with airy.open():
        await airy.settled()
        assert (await airy.shown("a"))["canonical"][0]["url"] != IMAGE
    assert airy.hosts.count(IMAGE) == 2
    assert len(airy.storage.objects) == 1


@pytest.mark.parametrize(
    ("answer", "reason", "calls"),
    [
        (Answer(404), "404", 3),
        (Answer(503), "503", 7),
        (Answer(0), "the connection failed", 7),
        (Answer(takes_s=None), "time-out", 7),
        (Answer(200, PAGE), "text/html", 1),
        (Answer(200, PNG * 1_000), "over 20000 bytes", 1),
        (Answer(200, b""), "empty", 1),
        (Answer(302, headers={"location": "https://169.254.169.254/latest/meta-data"}), "not a public address", 1),
        (Answer(302, headers={"location": "http://cdn.example.net/photo.png"}), "use https", 1),
        (Answer(302, headers={"location": "/photo.png"}), "redirects", 6),
        (Answer(302), "leads nowhere", 1),
    ],
)
async def test_what_cannot_be_fetched_is_marked_with_the_reason(answer: Answer, reason: str, calls: int) -> None:
    airy = Installation(limits=MediaLimits(bytes_max=20_000))
    airy.hosts.files[IMAGE] = answer
    async with airy.open():
        await airy.harness.append(airy.received("a", {"type": "text", "text": "see"}, image()))
        await airy.settled()
        shown = await airy.shown("a")
    assert reason in shown["metadata"]["media"]["1"]["error"]
    assert shown["canonical"][1]["url"] == IMAGE
    assert (airy.hosts.count(IMAGE), airy.storage.objects, airy.counts["failed"]) == (calls, {}, 1)


async def test_an_unavailable_host_is_asked_again_not_earlier_than_it_says() -> None:
    airy = Installation()
    airy.hosts.first[IMAGE] = [Answer(503, headers={"retry-after": "600"}), Answer(0), Answer(1)]
    airy.hosts.files[IMAGE] = Answer(200, PNG)
    async with airy.open():
        await airy.harness.append(airy.received("a", image()))
        began = anyio.current_time()
        await airy.settled()
        assert (await airy.shown("a"))["canonical"][0]["url"] != IMAGE
    assert 480.0 < anyio.current_time() - began < 3_600.0
    assert (airy.counts["stored"], airy.counts["retried"], airy.hosts.count(IMAGE)) == (1, 3, 4)


async def test_a_file_that_is_announced_as_too_large_is_not_called_for() -> None:
    airy = Installation(limits=MediaLimits(bytes_max=20_000))
    async with airy.open():
        await airy.harness.append(airy.received("a", image(size=20_001)))
        await airy.settled()
        assert "20001 bytes" in (await airy.shown("a"))["metadata"]["media"]["0"]["error"]
    assert airy.hosts.requests == []


async def test_a_storage_that_is_down_holds_everything_and_loses_nothing() -> None:
    airy = Installation()
    urls = [f"{CDN}/{number}.png" for number in range(20)]
    airy.hosts.files = {url: Answer(200, PNG + url.encode()) for url in urls}
    airy.storage.error = Unavailable("the storage of files is unavailable", retry_after_s=5.0)
    async with airy.open():
        await airy.harness.append(*(airy.received(url, image(url)) for url in urls))
        await anyio.sleep(1_800)
        assert airy.counts["failed"] == 0
        airy.storage.error = None
        await airy.settled()
        assert all([(await airy.shown(url))["canonical"][0]["url"] != url for url in urls])
    assert len(airy.storage.objects) == 20


async def test_a_host_that_never_answers_delays_no_other() -> None:
    airy = Installation()
    slow = [f"{OTHER}/{number}" for number in range(200)]
    airy.hosts.files = {IMAGE: Answer(200, PNG), **{url: Answer(takes_s=None) for url in slow}}
    async with airy.open():
        await airy.harness.append(*(airy.received(url, image(url)) for url in slow))
        await anyio.sleep(30.0)
        began = anyio.current_time()
        await airy.harness.append(airy.received("a", image()))
        message_id = airy.chat.inbound_id("a")
        await airy.harness.until(message_id, lambda message: f"data_{IMAGE}" in message.metadata)
    assert anyio.current_time() - began < 5.0
    assert airy.hosts.in_flight_max[origin(OTHER)] == 4  # of 8


async def test_a_deleted_message_is_not_fetched_and_an_edit_is() -> None:
    airy = Installation()
    second = f"{CDN}/second.png"
    airy.hosts.files = {IMAGE: Answer(404), second: Answer(200, PNG)}
    async with airy.open():
        a, b = airy.received("a", image()), airy.received("b", image(f"{CDN}/b"))
        origin_ = {"conversation_id": a.conversation_id, "channel_id": a.channel_id, "source": a.source, "at_ms": 1}
        deleted = MessageDeleted(id=ids.derive(a.id, ":d"), provider_id=b.provider_id or "", **origin_)  # type: ignore[arg-type]
        await airy.harness.append(a, b, deleted)
        await airy.settled()
        assert "404" in (await airy.shown("a"))["metadata"]["media"]["0"]["error"]
        edited = MessageEdited(
            id=ids.derive(a.id, ":e"),
            provider_id=a.provider_id or "",
            content=raw({"urls": [second]}),
            canonical=raw([image(second)]),
            revision=1,
            **origin_,  # type: ignore[arg-type]
        )
        await airy.harness.append(edited)
        await airy.settled()
        shown = await airy.shown("a")
    assert shown["canonical"][0]["url"].startswith(BASE)
    assert "media" not in shown["metadata"]
    assert airy.hosts.count(f"{CDN}/b") == 0


async def test_a_media_id_is_asked_for_with_the_credentials_of_its_channel_and_gains_an_address() -> None:
    airy = Installation()
    chat = Chat(source="telegram", source_channel_id="4711")
    channel = Channel(
        id=chat.channel_id, source="telegram", source_channel_id="4711", connected=True, token=TOKEN, secrets={}
    )
    photo = f"{API}/file/bot{TOKEN}/photos/AgAC-1"
    airy.api.first[photo] = [Answer(503)]
    airy.api.files[photo] = Answer(200, PNG)
    picture = {"type": "media", "kind": "image", "media_id": "AgAC-1"}
    refused = {"type": "media", "kind": "file", "media_id": "BQAC-2", "filename": "menu.pdf"}
    async with airy.open():
        await airy.harness.bus.publish([topics.CHANNELS.record(channel.id, channel)])
        fact = airy.received("t", picture, refused, chat=chat)
        await airy.harness.append(replace(fact, content=raw({"photo": [{"file_id": "AgAC-1"}]})))
        await airy.settled()
        shown = await airy.shown("t", chat)
    assert shown["content"] == {"photo": [{"file_id": "AgAC-1"}]}
    assert shown["canonical"][0]["url"].startswith(f"{BASE}/media/")
    assert shown["canonical"][0]["media_id"] == "AgAC-1"
    assert "url" not in shown["canonical"][1]
    assert "404" in shown["metadata"]["media"]["1"]["error"]
    assert TOKEN not in str(shown) + str(airy.harness.logged.entries)
    assert airy.asked.count("AgAC-1") == 2  # each attempt asks for a new link
    assert airy.hosts.requests == []


async def test_credentials_do_not_follow_a_redirect_to_another_host() -> None:
    airy = Installation()
    airy.api.files[f"{API}/file"] = Answer(307, headers={"location": IMAGE})
    airy.hosts.files[IMAGE] = Answer(200, PNG)
    downloads = AttachmentDownloads(airy.library, guarded=airy.hosts, configured=airy.api)
    call = Call("GET", Secret(f"{API}/file"), {"authorization": Secret("Bearer x")})
    await downloads.fetch(Attachment(nth=0, reference="1", kind="image"), call, {origin(API)})
    assert (airy.api.headers, airy.hosts.headers) == ([{"authorization": "Bearer x"}], [{}])


async def test_addresses_that_metadata_cannot_hold_are_marked() -> None:
    airy = Installation()
    longer, dotted = f"{CDN}/photo.png.jpg", f"{CDN}/{'.' * 70}"
    airy.hosts.files = {IMAGE: Answer(200, PNG), longer: Answer(200, PNG), dotted: Answer(200, PNG)}
    async with airy.open():
        await airy.harness.append(airy.received("a", image(), image(longer, caption="2"), image(dotted)))
        await airy.settled()
        shown = await airy.shown("a")
    assert shown["canonical"][0]["url"].startswith(BASE)
    assert shown["canonical"][2] == image(dotted)
    assert sorted(shown["metadata"]["media"]) == ["1", "2"]


async def test_a_bug_of_a_source_ends_its_fetch_and_no_other() -> None:
    airy = Installation()
    airy.hosts.files[IMAGE] = Answer(200, PNG)

    class Broken:
        async def media(self, *_: object) -> None:
            raise KeyError(TOKEN)

    airy.telegram = Broken()  # type: ignore[assignment]
    chat = Chat(source="telegram", source_channel_id="4711")
    channel = Channel(id=chat.channel_id, source="telegram", source_channel_id="4711", connected=True, token=TOKEN)
    async with airy.open():
        await airy.harness.bus.publish([topics.CHANNELS.record(channel.id, channel)])
        lost = airy.received("t", {"type": "media", "kind": "image", "media_id": "1"}, chat=chat)
        await airy.harness.append(lost, airy.received("a", image()))
        await airy.settled()
        assert "bug" in (await airy.shown("t", chat))["metadata"]["media"]["0"]["error"]
    assert (airy.counts["stored"], airy.bugs["media"]) == (1, 3)
    assert TOKEN not in str(airy.harness.logged.entries)


async def test_disabled_it_makes_no_call_and_holds_no_change() -> None:
    airy = Installation()
    airy.enabled = False
    async with airy.open():
        await airy.harness.append(airy.received("a", image()))
        await airy.settled()
    assert airy.hosts.requests == []


@pytest.mark.parametrize("seed", range(6))
def test_with_failing_hosts_restarts_and_redeliveries_every_attachment_is_stored_once_or_marked(seed: int) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        airy = Installation(seed)
        urls = [f"https://host{number % 5}.example.net/{number}.png" for number in range(60)]
        good: set[str] = set()
        for url in urls:
            bad = [Answer(chance.choice([0, 1, 429, 500, 503])) for _ in range(chance.randrange(5))]
            airy.hosts.first[url] = bad
            if chance.random() < 0.7:
                airy.hosts.files[url] = Answer(200, PNG + url.encode(), takes_s=chance.random() * 30)
                good.add(url)
        facts = [airy.received(url, image(url)) for url in urls]
        for _ in range(4):
            async with airy.open():
                await airy.harness.append(*chance.sample(facts, 30))
                await anyio.sleep(chance.random() * 300)
        async with airy.open():
            await airy.harness.append(*facts)
            await airy.settled()
            for url in urls:
                shown = await airy.shown(url)
                stored = shown["canonical"][0]["url"].startswith(BASE)
                assert stored == (url in good), url
                assert stored != ("media" in shown["metadata"]), url
        assert sorted(airy.storage.objects.values()) == sorted(PNG + url.encode() for url in good)

    run_seeded(seed, run)
