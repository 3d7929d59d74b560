"""Streams: what an encoder is the encoder of, one modality or a main one into which a second one is added on the way.

The stream of the tap "image@2" is the modality itself. That of "picture+sound@2" is a joined one: the features of
`sound` are added into the encoder of `picture`, in "picture+se*sound@2" weighed by squeeze-and-excitation. Of its taps,
0 holds the first layers of both side by side, which a gate may read; tap 1 + k is the deepest one of the main encoder,
with the second modality added after each of its first k layers, see `nas.encoders.joined`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WEIGHED = "se*"

STEMS = 0
"""The tap of a joined stream that holds the first layers of both encoders."""


def joined_stream(main: str, second: str, *, weighed: bool) -> str:
    """The name of the stream of a main modality into which a second one is added."""
    return f"{main}+{WEIGHED if weighed else ''}{second}"


def is_joined(source: str) -> bool:
    """Whether a stream, or the stream of a tap, is a joined one."""
    return "+" in source


def is_weighed(stream: str) -> bool:
    """Whether what is added in a joined stream is weighed by squeeze-and-excitation."""
    return f"+{WEIGHED}" in stream


def stream_modalities(stream: str) -> tuple[str, ...]:
    """The modality of a stream, or its two, the main one first."""
    return tuple(part.removeprefix(WEIGHED) for part in stream.split("+"))


def tap_modalities(tap: str) -> tuple[str, ...]:
    """The modalities that a tap depends on, by its name: of a joined stream both, but where nothing is added."""
    stream, depth = tap.split("@", 1)
    names = stream_modalities(stream)
    return names[:1] if len(names) > 1 and joins_of(int(depth)) == 0 else names


def joins_of(depth: int) -> int:
    """After how many layers the second modality is added in a tap of a joined stream; −1 for that of the stems."""
    return depth - 1


def joined_tap(stream: str, joins: int) -> str:
    """The tap of a joined stream in which the second modality is added after so many layers of the main encoder."""
    return f"{stream}@{joins + 1}"


def num_taps(stream: str, depths: Mapping[str, int]) -> int:
    """How many taps a stream offers.

    Args:
        stream: A modality or a joined one.
        depths: For each modality, how many taps its encoder offers.
    """
    return 2 + min(depths[name] for name in stream_modalities(stream)) if is_joined(stream) else depths[stream]


def offers_tap(tap: str, depths: Mapping[str, int]) -> bool:
    """Whether encoders of so many taps offer one, be it of a joined stream, by its name."""
    stream, depth = tap.split("@", 1)
    names = stream_modalities(stream)
    known = len(set(names)) == len(names) <= 2 and all(name in depths for name in names)
    if not known or not depth.isdecimal():
        return False
    return int(depth) < num_taps(stream, depths)


@dataclass(frozen=True)
class Wiring:
    """A tap as a drawing shows it, by taps of single modalities.

    Attributes:
        read: What is read: one tap, or those of both stems.
        sums: From which tap of the second modality what is added to which one of the main modality.
    """

    read: tuple[str, ...]
    sums: tuple[tuple[str, str], ...] = ()


def wiring(source: str, depths: Mapping[str, int]) -> Wiring:
    """How a drawing shows a tap, or an earlier step.

    Args:
        source: The name of either.
        depths: For each modality, how many taps its encoder offers.
    """
    stream, at, depth = source.partition("@")
    names = stream_modalities(stream)
    if not at or len(names) != 2:
        return Wiring((source,))
    main, second = names
    joins = joins_of(int(depth))
    if joins < 0:
        return Wiring((f"{main}@0", f"{second}@0"))
    read = f"{main}@{depths.get(main, 1) - 1}"
    return Wiring((read,), tuple((f"{second}@{place}", f"{main}@{place}") for place in range(joins)))


def plain_taps(taps: Iterable[str], depths: Mapping[str, int]) -> tuple[str, ...]:
    """The taps of single modalities that are read, or added into another encoder, each once.

    Args:
        taps: Names of taps, those of joined streams among them.
        depths: For each modality, how many taps its encoder offers.
    """
    shown = [wiring(tap, depths) for tap in taps]
    added = [tap for one in shown for tap in (*one.read, *(source for source, _ in one.sums))]
    return tuple(dict.fromkeys(added))


def tap_in_words(tap: str) -> str:
    """For people: "image@2", "picture alone", or "picture + sound to depth 1", which is the depth of the last sum."""
    stream, at, depth = tap.partition("@")
    if not at or not is_joined(stream):
        return tap
    main, second = stream_modalities(stream)
    joins = joins_of(int(depth))
    if joins < 0:
        return f"{main}@0 and {second}@0"
    added = f"SE({second})" if is_weighed(stream) else second
    return f"{main} + {added} to depth {joins - 1}" if joins else main


def identifier(source: str) -> str:
    """A tap or stream as a part of a Python identifier, such as "image_1" or "picture_se_sound_2"."""
    return source.replace("@", "_").replace(f"+{WEIGHED}", "_se_").replace("+", "_")
