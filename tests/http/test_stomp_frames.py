"""The STOMP codec: every version, escapes, bodies, line ends, limits, and any split into messages."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.http.stomp.frame import HEAD_BYTES_MAX, Frame, FrameDecoder, FrameError, Version, encode

BODY_BYTES_MAX = 1_000
VERSIONS: tuple[Version, ...] = ("1.0", "1.1", "1.2")


def decoded(data: bytes, version: Version | None = "1.2", *, split_at: int = 0) -> list[Frame]:
    decoder = FrameDecoder(body_bytes_max=BODY_BYTES_MAX)
    decoder.version = version
    frames: list[Frame] = []
    for part in (data[:split_at], data[split_at:]):
        decoder.feed(part)
        while (frame := decoder.next()) is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("data", "version", "frames"),
    [
        (b"CONNECT\naccept-version:1.2\n\n\0", None, [Frame("CONNECT", {"accept-version": "1.2"})]),
        (b"SEND\na:1\na:2\n\nx\0", "1.2", [Frame("SEND", {"a": "1"}, b"x")]),
        (b"\n\r\n\nSEND\n\n\0\n\nACK\n\n\0\n", "1.2", [Frame("SEND"), Frame("ACK")]),
        (b"SEND\r\na:1\r\n\r\nx\0", "1.2", [Frame("SEND", {"a": "1"}, b"x")]),
        (b"SEND\na:1\r\n\nx\0", "1.1", [Frame("SEND", {"a": "1\r"}, b"x")]),
        (b"SEND\na : 1 \n\n\0", "1.0", [Frame("SEND", {"a": "1"})]),
        (b"SEND\na : 1 \n\n\0", "1.1", [Frame("SEND", {"a ": " 1 "})]),
        (b"SEND\na:b:c\n\n\0", "1.1", [Frame("SEND", {"a": "b:c"})]),
        (b"SEND\na:\\c\\n\\\\\\r\n\n\0", "1.2", [Frame("SEND", {"a": ":\n\\\r"})]),
        (b"SEND\na:\\n\n\n\0", "1.0", [Frame("SEND", {"a": "\\n"})]),
        (b"CONNECT\na:\\t\n\n\0", None, [Frame("CONNECT", {"a": "\\t"})]),
        (b"SEND\ncontent-length:3\n\na\0b\0", "1.2", [Frame("SEND", {"content-length": "3"}, b"a\0b")]),
        (b"SEND\ncontent-length:2\n\n\xc3\xa4\0", "1.2", [Frame("SEND", {"content-length": "2"}, "ä".encode())]),
        (b"SEND\n\nnot complete", "1.2", []),
        (b"\n", "1.2", []),
    ],
)
def test_bytes_decode_to_frames(data: bytes, version: Version | None, frames: list[Frame]) -> None:
    assert decoded(data, version) == frames


@pytest.mark.parametrize(
    ("data", "version", "words"),
    [
        (b"SEND\na\n\n\0", "1.2", "without a colon"),
        (b"SEND\na:1\0", "1.2", "empty line"),
        (b"send\n\n\0", "1.2", "not a command"),
        (b"SEND\na:\xff\n\n\0", "1.2", "UTF-8"),
        (b"SEND\na:\\t\n\n\0", "1.2", "undefined escape"),
        (b"SEND\na:\\r\n\n\0", "1.1", "undefined escape"),
        (b"SEND\na:\\\n\n\0", "1.1", "undefined escape"),
        (b"SEND\ncontent-length:2\n\nabc\0", "1.2", "no NUL"),
        (b"SEND\ncontent-length:-1\n\n\0", "1.2", "content-length"),
        (b"SEND\ncontent-length:1001\n\n", "1.2", "content-length"),
        (b"SEND\n\n" + b"x" * 1_001, "1.2", "more than 1000 bytes"),
        (b"SEND\na:" + b"x" * HEAD_BYTES_MAX, "1.2", "more than 16384 bytes"),
        (b"SEND\n" + b"a:1\n" * 65 + b"\n\0", "1.2", "more than 64 headers"),
    ],
)
def test_bytes_that_are_no_frame_are_refused(data: bytes, version: Version, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        decoded(data, version)


def test_a_header_the_version_cannot_express_is_not_sent() -> None:
    with pytest.raises(FrameError):
        encode(Frame("MESSAGE", {"a": "two\nlines"}), "1.0")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
frames = st.builds(
    Frame,
    st.sampled_from(["MESSAGE", "SEND", "SUBSCRIBE"]),
    st.dictionaries(names.filter(lambda name: name != "content-length"), names, max_size=4),
    st.binary(max_size=40),
)


@given(st.lists(frames, max_size=3), st.sampled_from(["1.1", "1.2"]), st.integers(0, 400))
def test_what_is_encoded_decodes_to_the_same_wherever_it_is_split(
    given_frames: list[Frame], version: Version, split_at: int
) -> None:
    """STOMP 1.1 cannot express a carriage return at the end of a line."""
    if version == "1.1":
        given_frames = [
            Frame(each.command, {k: v for k, v in each.headers.items() if "\r" not in k + v}, each.body)
            for each in given_frames
        ]
    data = b"\n".join(encode(frame, version) for frame in given_frames)

    found = decoded(data, version, split_at=split_at)

    without_length = [
        Frame(each.command, {k: v for k, v in each.headers.items() if k != "content-length"}, each.body)
        for each in found
    ]
    assert without_length == given_frames


@given(st.binary(max_size=200), st.sampled_from(VERSIONS))
def test_any_bytes_are_frames_or_refused(data: bytes, version: Version) -> None:
    with suppress(FrameError):
        decoded(data, version, split_at=len(data) // 2)
