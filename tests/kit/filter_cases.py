"""Five conversations, filters over them, and the conversations each filter must select.

The first filters are those the inbox builds, with text typed into its search box.
"""

from airy.model import ids
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.log import Log

URGENT, LATER = ids.derive("tag", "Urgent"), ids.derive("tag", "Later")
GRACE, ADA, BOB, SMS, LOUD = (
    Chat(1),
    Chat(2),
    Chat(3),
    Chat(4, source="twilio.sms", source_channel_id="+1"),
    Chat(5),
)
CHATS = {"grace": GRACE, "ada": ADA, "bob": BOB, "sms": SMS, "loud": LOUD}


def filter_log() -> Log:
    """The log of the five conversations."""
    log = Log()
    log.append(channel(), channel("twilio.sms", "+1"))
    for chat in CHATS.values():
        log.append(chat.received("a", at_ms=START_MS + (5000 if chat is SMS else 0)))
    log.append(GRACE.metadata({"contact.display_name": "Grace Hopper"}), ADA.metadata({"contact.display_name": "Ada"}))
    log.append(
        BOB.metadata({"contact.display_name": "bob (sales) +49-30"}),
        LOUD.metadata({"contact.display_name": "JÖRG HÄGG"}),
    )
    log.append(GRACE.tag_added(URGENT), GRACE.tag_added(LATER), ADA.tag_added(URGENT), BOB.tag_added(LATER))
    log.append(BOB.tag_removed(LATER))
    log.append(GRACE.state_changed("CLOSED"), ADA.state_changed("open"), BOB.state_changed("On  Hold"))
    log.append(GRACE.received("b", at_ms=START_MS), *(SMS.received(n, at_ms=START_MS + 5000) for n in range(3)))
    log.append(
        ADA.received("c", "Où est l'hôtel? Straße 12, e-mail: ada@example.org 👍", at_ms=START_MS),
        ADA.queued("q", "We'll call you", at_ms=START_MS),
        BOB.echoed("c", "The delivery is late", at_ms=START_MS),
        BOB.edited("c", "The parcel is late"),
        LOUD.echoed("c", "GONE FOREVER", at_ms=START_MS),
        LOUD.deleted("c"),
        LOUD.echoed("d", "你好吗 late", at_ms=START_MS),
    )
    log.append(
        ADA.read(), ADA.metadata({"user_data.erp.id": "abc", "user_data.age": 42, "user_data.note": "Likes Rye bread"})
    )
    return log


def filter_cases() -> list[tuple[str, str]]:
    closed = "id:* AND NOT metadata.state:CLOSED"
    grace, ada = GRACE.conversation_id, ADA.conversation_id
    return [
        # what the inbox writes
        ("unread_count:[1 TO *]", "grace bob sms loud"),
        ("unread_count:0", "ada"),
        ("display_name:*opp*", "grace"),
        ("display_name:*grace hop*", "grace"),
        ("display_name:*(sales*", "bob"),
        ("display_name:*(sales) +4*", "bob"),
        ("display_name:*sales) AND unread_count:[1 TO *]*", ""),
        ("display_name:**", "grace ada bob sms loud"),
        (f"tag_ids:({URGENT})", "grace ada"),
        (f"tag_ids:({URGENT} AND {LATER})", "grace"),
        (f"channel_id:({GRACE.channel_id} OR {SMS.channel_id})", "grace ada bob sms loud"),
        (f"channel_id:({SMS.channel_id})", "sms"),
        ("source:(facebook OR twilio.sms)", "grace ada bob sms loud"),
        ("source:(twilio.sms)", "sms"),
        (closed, "ada bob sms loud"),
        ("metadata.state:CLOSED", "grace"),
        (f"{closed} AND unread_count:[1 TO *] AND source:(facebook) AND display_name:*b*", "bob"),
        (f"unread_count:0 AND tag_ids:({URGENT}) AND {closed}", "ada"),
        (f"display_name:*hopper* AND tag_ids:({URGENT} AND {LATER}) AND channel_id:({GRACE.channel_id})", "grace"),
        # fields
        (f'id:"{grace.replace("-", chr(92) + "-")}"', "grace"),
        (f"id:{grace.upper()}", "grace"),
        (grace, "grace"),
        (f"{grace} {ada}", "grace ada"),
        (f"id:{grace[:13]}*", "grace"),
        (f"id:*{ada[-7:]}", "ada"),
        ("id:????????-*", "grace ada bob sms loud"),
        ("id:nothing", ""),
        ("source:TWILIO.SMS", "sms"),
        ("source:t*o.s?s", "sms"),
        ("source:nothing*", ""),
        ("display_name:Grace", "grace"),
        ("display_name:grace", "grace"),
        ("display_name:jörg", "loud"),
        ("display_name:HÄG?", "loud"),
        ("display_name:rac", ""),
        ("display_name:gra*", "grace"),
        ("display_name:*per", "grace"),
        ("display_name:*opp", ""),  # not at the end of a word
        ("display_name:opp*", ""),  # not at its beginning
        ("display_name:g*e", "grace"),
        ("display_name:g*r", ""),  # not across words
        ("display_name:g?ace", "grace"),
        ('display_name:"grace hopper"', "grace"),
        ('display_name:"hopper grace"', ""),
        ('display_name:"+49-30"', "bob"),
        (r"display_name:\(sales\)", "bob"),
        (f"display_name:{SMS.conversation_id[31:]}", "sms"),
        ("display_name:sms", "sms"),
        ("display_name:*", "grace ada bob sms loud"),
        ("display_name:absent", ""),
        (f"tag_ids:{LATER}", "grace"),
        ("tag_ids:*", "grace ada"),
        (f"tag_ids:{URGENT[:8]}*", "grace ada"),
        ("NOT tag_ids:*", ""),  # prohibitions alone match nothing
        ("id:* NOT tag_ids:*", "bob sms loud"),
        ("metadata.state:open", "ada"),
        ("metadata.state:*", "grace ada bob"),
        ('metadata.state:"on hold"', "bob"),
        ("metadata.state:on*", "bob"),
        ("metadata.user_data.erp.id:abc", "ada"),
        ("metadata.user_data.erp.id:*", "ada"),
        ("metadata.user_data.erp.id:ABC*", "ada"),
        ("metadata.user_data.age:42", "ada"),
        ('metadata.user_data.note:"rye bread"', "ada"),
        ("metadata.user_data.note:*ikes", "ada"),
        ("metadata.user_data.nothing:*", ""),
        ("metadata.contact.display_name:hopper", "grace"),
        ("metadata.unread_count:4", "sms"),
        # messages
        ("message:bread", "grace ada bob sms loud"),
        ("message:BREAD", "grace ada bob sms loud"),
        ("message:hotel", "ada"),
        ("message:HÔTEL", "ada"),
        ("message:strasse", "ada"),
        ('message:"straße 12"', "ada"),
        ('message:"12 straße"', ""),
        ("message:e\\-mail", "ada"),
        ('message:"ada@example.org"', "ada"),
        ("message:👍", "ada"),
        ("message:call", "ada"),  # our own messages too
        ("message:hot*", "ada"),
        ("message:ote*", ""),
        ("message:hot", ""),
        ("message:delivery", ""),  # edited
        ("message:parcel", "bob"),
        ("message:forever", ""),  # deleted
        ("message:late", "bob loud"),
        ("message:(parcel AND late)", "bob"),
        ("message:(hotel AND call)", "ada"),  # in two messages
        ('message:"hotel call"', ""),
        ("message:(hotel OR late)", "ada bob loud"),
        ("message:late AND NOT message:parcel", "loud"),
        ("message:late AND unread_count:[1 TO *]", "bob loud"),
        ("message:late OR display_name:grace", "grace bob loud"),
        ("message:好", "loud"),
        ("message:你好", "loud"),
        ("message:好你", ""),
        # numbers
        ("unread_count:2", "grace"),
        ("unread_count:[2 TO *]", "grace sms"),
        ("unread_count:[* TO 1]", "ada bob loud"),
        ("unread_count:{1 TO 4]", "grace sms"),
        ("unread_count:{1 TO 4}", "grace"),
        ("unread_count:[2 TO 2]", "grace"),
        ("unread_count:>2", "sms"),
        ("unread_count:>=2", "grace sms"),
        ("unread_count:<1", "ada"),
        ("unread_count:*", "grace ada bob sms loud"),
        (f"created_at:{START_MS}", "grace ada bob loud"),
        (f"created_at:[{START_MS} TO {START_MS + 5000}]", "grace ada bob sms loud"),
        (f"created_at:{{{START_MS - 1} TO *]", "grace ada bob sms loud"),
        (f"created_at:[-5 TO {START_MS}]", "grace ada bob loud"),
        ("created_at:[9223372036854775807 TO *]", ""),
        ("created_at:{9223372036854775807 TO *]", ""),
        ("created_at:[* TO -9223372036854775808}", ""),
        (f"last_message_at:[{START_MS + 1} TO *]", "sms"),
        # operators
        ("display_name:ada OR display_name:grace", "grace ada"),
        ("display_name:ada display_name:grace", "grace ada"),
        ("display_name:ada || display_name:grace", "grace ada"),
        ("display_name:(ada grace)", "grace ada"),
        ("unread_count:2 && source:facebook", "grace"),
        ("source:facebook AND !display_name:grace", "ada bob loud"),
        ("source:facebook -display_name:grace -display_name:ada", "bob loud"),
        ("+source:facebook +unread_count:2", "grace"),
        ("+source:facebook unread_count:2", "grace ada bob loud"),  # the second clause is optional
        ("display_name:ada OR source:facebook AND unread_count:2", "grace"),  # the first clause is optional too
        ("(display_name:ada OR source:facebook) AND unread_count:2", "grace"),
        ("source:facebook AND (display_name:ada OR display_name:sms)", "ada"),
        ("source:facebook AND (NOT display_name:ada)", ""),
        ("display_name:ada^3", "ada"),
        ("source:(facebook AND NOT twilio.sms)", "grace ada bob loud"),
        ("*:*", "grace ada bob sms loud"),
        ("*", "grace ada bob sms loud"),
        ("unread_count:(2 OR 4)", "grace sms"),
    ]


REFUSED_FILTERS = [
    ("", "empty"),
    ("   ", "empty"),
    ("display_name:ada~", "fuzzy"),
    ("display_name:ada~1", "fuzzy"),
    ('display_name:"a b"~2', "slop"),
    ("display_name:/ad./", "regular expression"),
    ("display_name:[a TO b]", "range over text"),
    ("unread_count:abc", "unread_count"),
    ("unread_count:1*", "unread_count"),
    ("created_at:99999999999999999999", "64-bit|whole numbers"),
    ("created_at:9223372036854775808", "64-bit"),
    ("nothing:x", "nothing"),
    ("metadata.:x", "metadata"),
    ("message:*oo", "wildcard at the beginning"),
    ("message:*", "wildcard at the beginning"),
    ("message:f*o", "wildcard within a word"),
    ("message:f?o", "wildcard within a word"),
    ("message:foo~", "fuzzy"),
    ('message:"a b"~2', "slop"),
    ("message:/x/", "regular expression"),
    ("message:[a TO b]", "range over text"),
    ('message:"!?"', "letter"),
    (" ".join(["message:a"] * 33), "32 terms"),
    ("AND", "read"),
    ("(source:facebook", "read"),
    ("source:", "read"),
    ("(" * 40 + "a" + ")" * 40, "deep"),
    (" ".join(["a"] * 1025), "1024"),
    ("a" * 70_000, "longer"),
]
