"""Updates as Telegram writes them. Times are seconds."""

from airy.errors import Refused
from airy.sim.provider.acts import (
    Blocks,
    Edits,
    PersonAct,
    Presses,
    Reacts,
    Returns,
    Says,
    SendsMedia,
    SharesLocation,
    Starts,
)
from airy.sim.provider.api import SimFile
from airy.sim.provider.options import SimAccount
from airy.sim.provider.state import Person

FIELDS = {"audio": "audio", "video": "video", "voice": "voice", "file": "document", "sticker": "sticker"}
Update = dict[str, object]


def user(person: Person) -> Update:
    first, _, last = person.name.partition(" ")
    return {"id": int(person.id), "is_bot": False, "first_name": first, "language_code": "en"} | (
        {"last_name": last} if last else {}
    )


def chat(person: Person) -> Update:
    named = {name: text for name, text in user(person).items() if name in {"id", "first_name", "last_name"}}
    return named | {"type": "private"}


def bot(account: SimAccount) -> Update:
    return {"id": int(account.id), "is_bot": True, "first_name": account.name, "username": "corner_bakery_bot"}


def message(person: Person, message_id: str, now_ms: int, **content: object) -> Update:
    number = int(message_id.rpartition(":")[2])
    return {"message_id": number, "date": now_ms // 1000, "from": user(person), "chat": chat(person), **content}


def number_of(message_id: str | None) -> int:
    return int((message_id or "0").rpartition(":")[2])


def update_of(
    account: SimAccount, person: Person, act: PersonAct, message_id: str, now_ms: int, file: tuple[str, SimFile] | None
) -> Update:
    """What an update holds besides its number. Raises `Refused` for what the app cannot do."""
    match act:
        case Edits(edited, text):
            content = message(person, edited, now_ms, edit_date=now_ms // 1000, text=text)
            return {"edited_message": content}
        case Presses(_, payload, below):
            number = number_of(below or person.last_message_id)
            shown = {"message_id": number, "date": now_ms // 1000, "chat": chat(person), "from": bot(account)}
            tap = {"id": message_id.replace(":", ""), "from": user(person), "message": shown, "data": payload}
            return {"callback_query": tap | {"chat_instance": person.id}}
        case Reacts(emoji, target):
            reaction = {
                "chat": chat(person),
                "message_id": number_of(target or person.last_message_id),
                "user": user(person),
                "date": now_ms // 1000,
                "old_reaction": [],
                "new_reaction": [{"type": "emoji", "emoji": emoji}] if emoji else [],
            }
            return {"message_reaction": reaction}
        case Blocks() | Returns():
            blocked = isinstance(act, Blocks)
            statuses = ("member", "kicked") if blocked else ("kicked", "member")
            old, new = ({"user": bot(account), "status": status} for status in statuses)
            changed = {"chat": chat(person), "from": user(person), "date": now_ms // 1000}
            return {"my_chat_member": changed | {"old_chat_member": old, "new_chat_member": new}}
    return {"message": message(person, message_id, now_ms, **_content(act, file))}


def _content(act: PersonAct, file: tuple[str, SimFile] | None) -> Update:
    match act:
        case Says(text, _, reply_to, extra):
            reply = {} if reply_to is None else {"reply_to_message": {"message_id": number_of(reply_to)}}
            return {"text": text, **reply, **extra}
        case Starts(reference):
            return {"text": f"/start {reference}".strip()}
        case SharesLocation(latitude, longitude):
            return {"location": {"latitude": latitude, "longitude": longitude}}
        case SendsMedia(kind, _, caption) if file is not None:
            file_id, stored = file
            described: Update = {"file_id": file_id, "file_unique_id": file_id[-8:], "file_size": len(stored.body)}
            shown = {"caption": caption} if caption else {}
            if kind == "image":
                return {
                    "photo": [described | {"width": 90, "height": 90}, described | {"width": 800, "height": 800}],
                    **shown,
                }
            named = {"mime_type": stored.mime, "file_name": stored.name}
            return {FIELDS[kind]: described | named, **shown}
    raise Refused(f"Telegram reports no such act: {type(act).__name__}", field="act")
