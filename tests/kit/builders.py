"""Builders of facts and entities with consistent defaults, and seeded logs of them.

`Chat` builds the facts of one conversation: every method returns the next one, with its own id and a time one
second later. All randomness comes from the given seed.
"""

from random import Random
from typing import Any

import msgspec
from msgspec import Raw

from airy.model import ids
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_state import DeliveryState
from airy.model.entity import ApiToken, Channel, Color, Tag, Template, Webhook
from airy.model.fact import (
    CancelRequested,
    ConversationRead,
    ErrorKind,
    EventNoted,
    Fact,
    HandoverChanged,
    IdentityChanged,
    MessageDeferred,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageQueued,
    MessageReceived,
    MetadataChanged,
    ProfileRefetchRequested,
    ProfileResolved,
    ReactionChanged,
    ReceiptReported,
    ResendRequested,
    ResumeTokensRevoked,
    ResumeTokenUsed,
    SendFailed,
    SendStarted,
    SendSucceeded,
    SendUnknown,
    StateChanged,
    Subject,
    TagAdded,
    TagRemoved,
)
from airy.model.raw import NULL

PAGE = "204918377001"
START_MS = 1_767_225_600_000
STEP_MS = 1000


def raw(content: object) -> Raw:
    return Raw(msgspec.json.encode(content))


def channel(
    source: str = "facebook",
    source_channel_id: str = PAGE,
    *,
    connected: bool = True,
    **metadata: object,
) -> Channel:
    flat = {"name": "Corner Bakery", **metadata}
    return Channel(
        id=ids.channel_id(source, source_channel_id),
        source=source,
        source_channel_id=source_channel_id,
        connected=connected,
        token="sealed",
        metadata={key: raw(content) for key, content in flat.items()},
        updated_at_ms=START_MS,
    )


def tag(name: str = "Urgent", color: Color = "tag-red") -> Tag:
    return Tag(id=ids.derive("tag", name), name=name, color=color, updated_at_ms=START_MS)


def template(name: str = "Hello", source: str = "facebook") -> Template:
    content = raw({"text": "Hello [[name]]!"})
    return Template(id=ids.derive("template", name), name=name, source=source, content=content)


def api_token(name: str = "reports") -> ApiToken:
    return ApiToken(
        id=ids.derive("api-token", name),
        name=name,
        sha256="00" * 32,
        role="agent",
        permissions=("read",),
        created_by="system-token-system",
        created_at_ms=START_MS,
        expires_at_ms=START_MS + 1,
        revoked_at_ms=START_MS + 2,
        updated_at_ms=START_MS,
    )


def webhook(url: str = "http://127.0.0.1:1/hook", *, events: tuple[str, ...] = (), **more: str) -> Webhook:
    return Webhook(
        id=ids.derive("webhook", url),
        url=url,
        status="Subscribed",
        events=events,
        name=more.get("name"),
        signature_key=more.get("signature_key"),
        headers=more.get("headers"),
        subscribed_at_ms=START_MS,
        updated_at_ms=START_MS,
    )


def dead(
    number: int,
    webhook_id: str = "hook",
    *,
    died_at_ms: int = START_MS,
    reason: str = "10 attempts failed",
    replay_requested_at_ms: int | None = None,
    body: bytes | None = None,
) -> DeadDelivery:
    """A dead delivery."""
    return DeadDelivery(
        delivery_id=f"event {number}:{webhook_id}",
        webhook_id=webhook_id,
        event_id=f"event {number}",
        kind="message.created",
        lane=f"lane {number}",
        topic="application.communication.events",
        partition=number % 16,
        at_ms=number,
        attempts=10,
        reason=reason,
        died_at_ms=died_at_ms,
        replay_requested_at_ms=replay_requested_at_ms,
        body=Raw(body if body is not None else b'{"id":"event %d"}' % number),
    )


class Chat:
    """Builds facts of one conversation. Two chats with the same `seed` are the same conversation."""

    def __init__(self, seed: int = 0, *, source: str = "facebook", source_channel_id: str = PAGE) -> None:
        self.source = source
        self.channel_id = ids.channel_id(source, source_channel_id)
        self.participant_id = str(6_120_000_000_000_000 + seed)
        self.conversation_id = ids.conversation_id(self.channel_id, self.participant_id)
        self.now_ms = START_MS
        self._seed = seed
        self._made = 0

    def _base(self, at_ms: int | None, fact_id: str | None) -> dict[str, Any]:
        self._made += 1
        self.now_ms += STEP_MS
        return {
            "id": fact_id or ids.derive(self.conversation_id, f":fact:{self._made}"),
            "conversation_id": self.conversation_id,
            "channel_id": self.channel_id,
            "source": self.source,
            "at_ms": self.now_ms if at_ms is None else at_ms,
        }

    def provider_id(self, name: object) -> str:
        return f"m_{self._seed}_{name}"

    def inbound_id(self, name: object) -> str:
        """The message id of `received(name)`."""
        return ids.message_id(self.channel_id, self.provider_id(name))

    def outbound_id(self, name: object) -> str:
        """The message id of `queued(name)`."""
        return ids.derive(self.conversation_id, f":ours:{name}")

    def received(
        self,
        name: object,
        text: str = "Is the rye bread back?",
        *,
        at_ms: int | None = None,
        fact_id: str | None = None,
        window_until_ms: int | None = None,
        reply_to: str | None = None,
        standby: bool = False,
    ) -> MessageReceived:
        provider_id = self.provider_id(name)
        return MessageReceived(
            **self._base(at_ms, fact_id or ids.derive(self.conversation_id, f":received:{name}")),
            message_id=self.inbound_id(name),
            participant_id=self.participant_id,
            provider_id=provider_id,
            content=raw({"message": {"mid": provider_id, "text": text}}),
            window_until_ms=window_until_ms,
            reply_to=reply_to,
            standby=standby,
        )

    def echoed(
        self,
        name: object,
        text: str = "Yes, three left.",
        *,
        at_ms: int | None = None,
        fact_id: str | None = None,
        ours: object = None,
        sender_id: str = "facebook:inbox",
    ) -> MessageEchoed:
        """`ours`: the name of the queued message whose id it carries."""
        provider_id = self.provider_id(name)
        return MessageEchoed(
            **self._base(at_ms, fact_id or ids.derive(self.conversation_id, f":echoed:{name}:{ours}")),
            message_id=self.inbound_id(name),
            participant_id=self.participant_id,
            sender_id=sender_id,
            provider_id=provider_id,
            content=raw({"message": {"mid": provider_id, "is_echo": True, "text": text}}),
            our_message_id=None if ours is None else self.outbound_id(ours),
        )

    def queued(
        self,
        name: object,
        text: str = "Yes, three left.",
        *,
        at_ms: int | None = None,
        fact_id: str | None = None,
        recipient_id: str | None = None,
        expires_at_ms: int | None = None,
        sender_id: str = "basic:ines@example.org",
    ) -> MessageQueued:
        return MessageQueued(
            **self._base(at_ms, fact_id),
            message_id=self.outbound_id(name),
            sender_id=sender_id,
            content=raw({"text": text}),
            recipient_id=recipient_id,
            expires_at_ms=expires_at_ms,
        )

    def resend(
        self,
        name: object,
        *,
        at_ms: int | None = None,
        expires_at_ms: int | None = None,
    ) -> ResendRequested:
        return ResendRequested(
            **self._base(at_ms, None),
            message_id=self.outbound_id(name),
            expires_at_ms=expires_at_ms,
        )

    def deferred(self, name: object, *, recipient_id: str | None = None, at_ms: int | None = None) -> MessageDeferred:
        """Without the channel, which the conversation does not have yet."""
        about = {**self._base(at_ms, None), "channel_id": "", "source": ""}
        return MessageDeferred(
            **about,
            message_id=self.outbound_id(name),
            sender_id="agent",
            content=raw({"text": str(name)}),
            recipient_id=recipient_id,
            waits_until_ms=about["at_ms"] + 30_000,
            expires_at_ms=about["at_ms"] + 86_400_000,
        )

    def cancel(self, name: object, *, at_ms: int | None = None) -> CancelRequested:
        return CancelRequested(**self._base(at_ms, None), message_id=self.outbound_id(name))

    def resumed(self, generation: int = 0, *, family: int = 0, at_ms: int | None = None) -> ResumeTokenUsed:
        return ResumeTokenUsed(**self._base(at_ms, None), family=family, generation=generation)

    def revoked(self, family: int = 0, *, at_ms: int | None = None) -> ResumeTokensRevoked:
        return ResumeTokensRevoked(**self._base(at_ms, None), family=family)

    def started(
        self,
        name: object,
        attempt: int = 1,
        *,
        worker: str = "worker-1",
        at_ms: int | None = None,
        fact_id: str | None = None,
    ) -> SendStarted:
        return SendStarted(
            **self._base(at_ms, fact_id),
            message_id=self.outbound_id(name),
            attempt=attempt,
            worker=worker,
        )

    def succeeded(
        self,
        name: object,
        attempt: int = 1,
        *,
        provider: object = None,
        at_ms: int | None = None,
    ) -> SendSucceeded:
        """`provider`: the name of the provider id it received."""
        return SendSucceeded(
            **self._base(at_ms, None),
            message_id=self.outbound_id(name),
            attempt=attempt,
            provider_id=None if provider is None else self.provider_id(provider),
        )

    def failed(
        self,
        name: object,
        attempt: int = 1,
        *,
        retry_at_ms: int | None = None,
        error_kind: ErrorKind = "provider",
        error: str = "the page is not allowed to answer",
        error_code: str = "10",
        detail: object = None,
        at_ms: int | None = None,
    ) -> SendFailed:
        return SendFailed(
            **self._base(at_ms, None),
            message_id=self.outbound_id(name),
            attempt=attempt,
            error_kind=error_kind,
            error=error,
            error_code=error_code,
            detail=NULL if detail is None else raw(detail),
            retry_at_ms=retry_at_ms,
        )

    def unknown(self, name: object, attempt: int = 1, *, at_ms: int | None = None) -> SendUnknown:
        return SendUnknown(
            **self._base(at_ms, None),
            message_id=self.outbound_id(name),
            attempt=attempt,
            reason="the connection broke after the request was sent",
        )

    def receipt(
        self,
        state: DeliveryState,
        *names: object,
        watermark_ms: int | None = None,
        error: str = "",
        error_code: str = "",
        error_kind: ErrorKind = "provider",
        pricing: Raw = NULL,
        at_ms: int | None = None,
        fact_id: str | None = None,
    ) -> ReceiptReported:
        return ReceiptReported(
            **self._base(at_ms, fact_id),
            state=state,
            provider_ids=tuple(map(self.provider_id, names)),
            watermark_ms=watermark_ms,
            error=error,
            error_code=error_code,
            error_kind=error_kind,
            pricing=pricing,
        )

    def edited(
        self,
        name: object,
        text: str,
        revision: int = 1,
        *,
        at_ms: int | None = None,
    ) -> MessageEdited:
        return MessageEdited(
            **self._base(at_ms, None),
            provider_id=self.provider_id(name),
            content=raw({"text": text}),
            revision=revision,
        )

    def deleted(self, name: object, *, at_ms: int | None = None) -> MessageDeleted:
        return MessageDeleted(**self._base(at_ms, None), provider_id=self.provider_id(name))

    def reacted(
        self,
        name: object,
        emoji: str | None = "❤️",
        *,
        actor: str | None = None,
        at_ms: int | None = None,
    ) -> ReactionChanged:
        return ReactionChanged(
            **self._base(at_ms, None),
            provider_id=self.provider_id(name),
            actor=actor or self.participant_id,
            emoji=emoji,
        )

    def metadata(
        self,
        settings: dict[str, object],
        *,
        remove: tuple[str, ...] = (),
        message_id: str | None = None,
        at_ms: int | None = None,
        fact_id: str | None = None,
    ) -> MetadataChanged:
        subject: Subject = "conversation" if message_id is None else "message"
        return MetadataChanged(
            **self._base(at_ms, fact_id),
            subject=subject,
            subject_id=message_id or self.conversation_id,
            set={key: raw(content) for key, content in settings.items()},
            remove=remove,
        )

    def profile(
        self,
        display_name: str | None = "Ines Kuhn",
        avatar_url: str | None = None,
        *,
        found: bool = True,
        at_ms: int | None = None,
    ) -> ProfileResolved:
        return ProfileResolved(
            **self._base(at_ms, None),
            found=found,
            display_name=display_name,
            avatar_url=avatar_url,
        )

    def refetch(self, *, at_ms: int | None = None) -> ProfileRefetchRequested:
        return ProfileRefetchRequested(**self._base(at_ms, None))

    def read(self, *, at_ms: int | None = None, fact_id: str | None = None) -> ConversationRead:
        return ConversationRead(**self._base(at_ms, fact_id), reader="basic:ines@example.org")

    def tag_added(self, tag_id: str, *, fact_id: str | None = None) -> TagAdded:
        return TagAdded(**self._base(None, fact_id), tag_id=tag_id)

    def tag_removed(self, tag_id: str, *, fact_id: str | None = None) -> TagRemoved:
        return TagRemoved(**self._base(None, fact_id), tag_id=tag_id)

    def state_changed(self, state: str | None, *, base: int | None = None, fact_id: str | None = None) -> StateChanged:
        return StateChanged(**self._base(None, fact_id), state=state, base=base)

    def handover(
        self,
        action: str = "pass",
        owner: str | None = "263902037430900",
        *,
        at_ms: int | None = None,
    ) -> HandoverChanged:
        return HandoverChanged(**self._base(at_ms, None), action=action, owner=owner)

    def identified(
        self,
        *aliases: str,
        participant_id: str | None = None,
        same_contact: str | None = None,
        at_ms: int | None = None,
    ) -> IdentityChanged:
        return IdentityChanged(
            **self._base(at_ms, None), aliases=aliases, participant_id=participant_id, same_contact=same_contact
        )

    def noted(
        self,
        kind: str = "referral",
        *,
        referral: str | None = "flyer-12",
        at_ms: int | None = None,
    ) -> EventNoted:
        return EventNoted(
            **self._base(at_ms, None),
            kind_at_source=kind,
            content=raw({kind: {"ref": referral}}),
            referral=referral,
        )


def seeded_log(seed: int, *, facts: int, conversations: int = 20, repeats: float = 0.05) -> list[Fact]:
    """A plausible log: contacts write, agents answer, connectors send, providers report, and some facts come
    twice.
    """
    random = Random(seed)
    writers = [_Writer(Chat(number), Random(seed * 1_000_003 + number)) for number in range(conversations)]
    log: list[Fact] = []
    while len(log) < facts:
        if log and random.random() < repeats:
            log.append(random.choice(log))
        else:
            log.append(random.choice(writers).next())
    return log


class _Writer:
    """Generates a plausible next fact of one conversation."""

    def __init__(self, chat: Chat, random: Random) -> None:
        self._chat = chat
        self._random = random
        self._inbound = 0
        self._outbound = 0
        self._plan: list[Fact] = []

    def next(self) -> Fact:
        if not self._plan:
            inbound = self._inbound == 0 or self._random.random() < 0.6
            self._plan = self._inbound_plan() if inbound else self._outbound_plan()
        return self._plan.pop(0)

    def _inbound_plan(self) -> list[Fact]:
        chat, random, name = self._chat, self._random, f"in-{self._inbound}"
        self._inbound += 1
        until_ms = chat.now_ms + 86_400_000
        plan: list[Fact] = [chat.received(name, f"message {self._inbound}", window_until_ms=until_ms)]
        if self._inbound == 1:
            plan.append(chat.profile(f"Contact {chat.participant_id[-3:]}"))
        plan += random.choice(
            (
                [],
                [],
                [],
                [chat.read()],
                [chat.reacted(name)],
                [chat.edited(name, "corrected")],
                [chat.deleted(name)],
                [chat.tag_added(ids.derive("tag", "Urgent"))],
                [chat.tag_removed(ids.derive("tag", "Urgent"))],
                [chat.state_changed(random.choice(("OPEN", "CLOSED")))],
                [chat.metadata({"user_data.order": self._inbound, "user_data.note": "ü"})],
                [chat.noted()],
            )
        )
        return plan

    def _outbound_plan(self) -> list[Fact]:
        chat, random, name = self._chat, self._random, f"out-{self._outbound}"
        self._outbound += 1
        plan: list[Fact] = [chat.queued(name, f"answer {self._outbound}"), chat.started(name)]
        match random.randrange(6):
            case 0:
                plan += [chat.failed(name), chat.resend(name), chat.started(name, 3)]
                plan += [chat.succeeded(name, 3, provider=name)]
            case 1:
                plan += [chat.failed(name, retry_at_ms=chat.now_ms), chat.started(name, 2)]
                plan += [chat.succeeded(name, 2, provider=name)]
            case 2:
                plan += [chat.unknown(name), chat.echoed(name, ours=name)]
            case 3:
                plan += [chat.echoed(name), chat.succeeded(name, provider=name)]
            case 4:
                plan += [chat.failed(name)]
            case _:
                plan += [chat.succeeded(name, provider=name), chat.receipt(DeliveryState.DELIVERED, name)]
        if random.random() < 0.5:
            plan.append(chat.receipt(DeliveryState.READ, watermark_ms=chat.now_ms))
        return plan
