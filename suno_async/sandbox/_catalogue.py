"""The models that the sandbox lists, and what each of them takes. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from suno_async.sandbox._rules import (
    COVER,
    EXTEND,
    EXTEND_UPLOAD,
    GENERATE,
    MUSIC,
    REQUIRED,
    SEPARATE,
    SOUNDS,
    VIDEO,
)

_Fields: TypeAlias = dict[str, dict[str, Any]]

_TEXT = {"type": "string"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SECONDS = {"type": "number", "minimum": 0}
_URL = {"type": "string", "format": "uri"}

_IDS: _Fields = {"task_id": _TEXT, "suno_id": _TEXT}
_MUSIC: _Fields = {
    "mode": {"type": "string", "enum": ["simple", "custom"]},
    "model": _TEXT,
    "prompt": _TEXT,
    "instrumental": {"type": "boolean"},
    "title": {"type": "string", "maxLength": 100},
    "tags": {"type": "string", "maxLength": 1000},
    "lyrics": {"type": "string", "maxLength": 5000},
    "vocal_gender": {"type": "string", "enum": ["m", "f"]},
    "style_weight": _SHARE,
    "weirdness_constraint": _SHARE,
    "negative_tags": _TEXT,
    "persona_id": _TEXT,
}
_LONGER: _Fields = {"continue_at": _SECONDS, "audio_weight": _SHARE}
_STEMS = {"type": "string", "enum": ["vocal", "instrumental"], "default": "vocal"}


class Entry(NamedTuple):
    """How the vendor's catalogue describes a model, and the fields of its input."""

    modality: str
    operations: tuple[str, ...]
    fields: _Fields


CATALOGUE = {
    GENERATE: Entry("audio", ("music-generate", "text-to-music"), _MUSIC),
    EXTEND: Entry("audio", ("music-extend", "music-generate"), _MUSIC | _IDS | _LONGER),
    EXTEND_UPLOAD: Entry(
        "audio",
        ("music-extend", "music-extend-upload", "music-generate"),
        _MUSIC | _LONGER | {"audio_url": _URL},
    ),
    COVER: Entry(
        "audio",
        ("music-cover", "music-generate"),
        _MUSIC | _IDS | {"audio_url": _URL, "audio_weight": _SHARE},
    ),
    VIDEO: Entry("video", ("music-video",), _IDS | {"author": _TEXT, "brand": _TEXT}),
    SEPARATE: Entry("audio", ("vocal-separation",), _IDS | {"mode": _STEMS}),
    SOUNDS: Entry("audio", ("sound-effects",), {"prompt": _TEXT, "loop": {}, "bpm": {}, "key": {}}),
}


def listed(modality: str | None, operation: str | None) -> list[dict[str, Any]]:
    """Return the entries of the list of models; an empty filter lets all pass."""
    return [
        {"model": kind, "modality": entry.modality, "operations": list(entry.operations)}
        for kind, entry in CATALOGUE.items()
        if (not modality or modality == entry.modality)
        and (not operation or operation in entry.operations)
    ]


def described(kind: str) -> dict[str, Any]:
    """Return the description of one model, with a JSON Schema of its input."""
    required = [*(("mode", "model") if kind in MUSIC else ()), *REQUIRED.get(kind, ())]
    schema = {"type": "object", "properties": CATALOGUE[kind].fields, "required": required}
    return {"model": kind, "input_schema": schema, "required_input_fields": required}
