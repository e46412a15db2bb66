"""The models that the sandbox lists, and the schemas of their inputs. No I/O."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from suno_async.sandbox._input_rules import (
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


class Model(NamedTuple):
    """One model of the API.

    Attributes:
        modality: What the model makes: ``"audio"`` or ``"video"``.
        operations: The operations of the model, as named in the vendor's catalogue.
        fields: The JSON Schema of each input field, by the name of the field.
    """

    modality: str
    operations: tuple[str, ...]
    fields: _Fields


MODELS = {
    GENERATE: Model("audio", ("music-generate", "text-to-music"), _MUSIC),
    EXTEND: Model("audio", ("music-extend", "music-generate"), _MUSIC | _IDS | _LONGER),
    EXTEND_UPLOAD: Model(
        "audio",
        ("music-extend", "music-extend-upload", "music-generate"),
        _MUSIC | _LONGER | {"audio_url": _URL},
    ),
    COVER: Model(
        "audio",
        ("music-cover", "music-generate"),
        _MUSIC | _IDS | {"audio_url": _URL, "audio_weight": _SHARE},
    ),
    VIDEO: Model("video", ("music-video",), _IDS | {"author": _TEXT, "brand": _TEXT}),
    SEPARATE: Model("audio", ("vocal-separation",), _IDS | {"mode": _STEMS}),
    SOUNDS: Model("audio", ("sound-effects",), {"prompt": _TEXT, "loop": {}, "bpm": {}, "key": {}}),
}


def list_models(modality: str | None, operation: str | None) -> list[dict[str, Any]]:
    """Return the models with this modality and operation.

    An argument that is None or empty matches all models.
    """
    return [
        {"model": kind, "modality": model.modality, "operations": list(model.operations)}
        for kind, model in MODELS.items()
        if (not modality or modality == model.modality)
        and (not operation or operation in model.operations)
    ]


def describe_model(kind: str) -> dict[str, Any]:
    """Return the name of a model, the JSON Schema of its input, and the required fields."""
    required = [*(("mode", "model") if kind in MUSIC else ()), *REQUIRED.get(kind, ())]
    schema = {"type": "object", "properties": MODELS[kind].fields, "required": required}
    return {"model": kind, "input_schema": schema, "required_input_fields": required}
