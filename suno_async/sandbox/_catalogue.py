"""The models that the sandbox lists. Pure."""

from __future__ import annotations

from typing import NamedTuple

from suno_async.sandbox._rules import (
    COVER,
    EXTEND,
    EXTEND_UPLOAD,
    GENERATE,
    SEPARATE,
    SOUNDS,
    VIDEO,
)


class Entry(NamedTuple):
    """How the vendor's catalogue describes a model."""

    modality: str
    operations: tuple[str, ...]


CATALOGUE = {
    GENERATE: Entry("audio", ("music-generate", "text-to-music")),
    EXTEND: Entry("audio", ("music-extend", "music-generate")),
    EXTEND_UPLOAD: Entry("audio", ("music-extend", "music-extend-upload", "music-generate")),
    COVER: Entry("audio", ("music-cover", "music-generate")),
    VIDEO: Entry("video", ("music-video",)),
    SEPARATE: Entry("audio", ("vocal-separation",)),
    SOUNDS: Entry("audio", ("sound-effects",)),
}
