"""What the API refuses (422). Pure, and written from the contract alone.

It shares nothing with the client's own checks, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from typing import Any, cast

GENERATE = "suno/music-generate"

_LENGTHS = {"title": 100, "tags": 1000, "lyrics": 5000}


def broken_rules(body: object) -> list[str]:
    """Every rule of CreateTask that `body` breaks; empty if it is accepted."""
    if not isinstance(body, dict):
        return ["body: must be a JSON object"]
    fields = cast("dict[str, Any]", body)
    callback = fields.get("callback_url")
    errors: list[str] = []
    if callback and not str(callback).startswith(("http://", "https://")):
        errors.append("callback_url: must be an http(s) URL")
    if fields.get("model") != GENERATE:
        return [*errors, f"model: unknown kind {fields.get('model')!r}"]
    if not isinstance(fields.get("input"), dict):
        return [*errors, "input: must be an object"]
    return errors + _generate(cast("dict[str, Any]", fields["input"]))


def _generate(given: dict[str, Any]) -> list[str]:
    mode, instrumental = given.get("mode"), given.get("instrumental", False)
    if mode not in {"simple", "custom"}:
        return ["mode: must be simple or custom"]
    if not isinstance(instrumental, bool):
        return ["instrumental: must be a boolean"]
    required = ["model", "prompt"] if mode == "simple" else ["model", "title", "tags"]
    if mode == "custom" and not instrumental:
        required.append("lyrics")
    errors = [f"{name}: required" for name in required if not _is_text(given.get(name))]
    errors += [
        f"{name}: at most {most} characters"
        for name, most in _LENGTHS.items()
        if name in given and (not isinstance(given[name], str) or len(given[name]) > most)
    ]
    errors += [
        f"{name}: must lie in 0 to 1"
        for name in ("style_weight", "weirdness_constraint")
        if name in given and not _is_share(given[name])
    ]
    if given.get("vocal_gender", "m") not in {"m", "f"}:
        errors.append("vocal_gender: must be m or f")
    return errors


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
