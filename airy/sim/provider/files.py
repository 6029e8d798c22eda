"""Small files of every kind that people send: valid enough to be recognized by their first bytes."""

import zlib
from struct import pack

from airy.sim.provider.acts import MediaKind
from airy.sim.provider.api import SimFile


def _png() -> bytes:
    """One red pixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return pack(">I", len(body)) + name + body + pack(">I", zlib.crc32(name + body))

    header = pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


_WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00/\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"

SAMPLES: dict[MediaKind, SimFile] = {
    "image": SimFile(_png(), "image/png", "cake.png"),
    "video": SimFile(b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08free", "video/mp4", "shop.mp4"),
    "audio": SimFile(b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 8, "audio/mpeg", "song.mp3"),
    "voice": SimFile(b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01", "audio/ogg", "voice.ogg"),
    "file": SimFile(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\ntrailer<</Root 1 0 R>>\n%%EOF\n", "application/pdf", "order.pdf"),
    "sticker": SimFile(_WEBP, "image/webp", "sticker.webp"),
}
