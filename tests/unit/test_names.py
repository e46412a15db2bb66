"""Names of downloaded files."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suno_async import InvalidInputError, TaskInfo, TaskParam, TaskStatus, Track
from suno_async._protocol.task_info import read_task_info
from suno_async.files import names as names_module
from suno_async.files.name_templates import FIELDS, check_template
from suno_async.files.names import MOST_BYTES, PlannedFile, file_name, plan_names
from tests.mutations import SAMPLES

ID = "0f9c1b52-5a1d-4c38-9b5e-6f1f2f0a7a11"
OTHER = "0f9c1b52-5a1d-4c38-9b5e-6f1f2f0a7a12"
TASK = "d6956973-2f17-43d4-8514-af6cc3a2f55d"

#: Bytes that a name must leave free for a suffix, such as a full stop, a UUID and ``.part``.
PART = 42


def song(title: str = "Rain", suno_id: str = ID, suffix: str = ".mp3") -> Track:
    """Return a song with an audio file and a cover image."""
    url = f"https://x/{suno_id}"
    return Track(
        task_id=TASK,
        suno_id=suno_id,
        title=title,
        suno_audio_url=url + suffix,
        suno_image_url=url + ".jpeg",
    )


def record(*tracks: Track, task_id: str = TASK, **fields: Any) -> TaskInfo:  # noqa: ANN401 (the fields of TaskInfo)
    """Return the record of a finished task."""
    return TaskInfo(task_id=task_id, status=TaskStatus.SUCCESS, tracks=tracks, **fields)


def names(info: TaskInfo, template: str | None = None) -> list[str]:
    """Return the file names that `plan_names` returns for a task."""
    return [file.name for file in plan_names(info, template)]


@pytest.mark.parametrize(
    ("track", "name"),
    [
        (song(), f"Rain-{ID}.mp3"),
        (Track(title="a/b: c?", suno_id="1", suno_audio_url="https://x/a"), "a_b_ c_-1.mp3"),
        (song("-Rain."), f"Rain.-{ID}.mp3"),
        (song(""), f"{ID}.mp3"),
        (song("../../etc"), f"_.._etc-{ID}.mp3"),
        (song("น้ำ"), f"น้ำ-{ID}.mp3"),
        (song("दिल की बात"), f"दिल की बात-{ID}.mp3"),
        (song("e\u0301te\u0301", suffix=".WAV?sig=1"), f"été-{ID}.wav"),
        (song("❤️ love", suffix=".exe"), f"_ love-{ID}.mp3"),
        (song("con.txt"), f"_con.txt-{ID}.mp3"),
    ],
)
def test_names_of_songs(track: Track, name: str) -> None:
    """The file name of a song consists of its title, its id and a suffix."""
    assert file_name(track) == name


@pytest.mark.parametrize(
    ("template", "title", "name"),
    [
        ("{title}", "COM1", "COM1-"),
        ("{title}", "Aux. b", "_Aux. b-"),
        ("{title} x", "com¹ .rain", "_com¹ .rain x-"),
        ("{title}/{suno_id}", "NUL", f"_NUL/{ID}.mp3"),
        ("{title}/{suno_id}", "..", f"untitled/{ID}.mp3"),
        ("{title}/{suno_id}", "Rain. ", f"Rain/{ID}.mp3"),
        ("{task_id}/{index}", "Rain", f"{TASK}/track-"),
        ("{{{title}}}", "Rain", "{Rain}-"),
    ],
)
def test_templates(template: str, title: str, name: str) -> None:
    """`file_name` fills in the fields of a template and returns a valid path."""
    assert file_name(song(title), template).startswith(name)


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("https://x/songs/rain.m4a?sig=1", r"rain-[0-9a-f]{12}\.m4a"),
        ("https://x/..%2Fpasswd", r"passwd-[0-9a-f]{12}\.mp3"),
        ("https://x/" + "a." + "b" * 30, r"a-[0-9a-f]{12}\.mp3"),
        ("https://x/cover.PNG", r"cover-[0-9a-f]{12}\.png"),
        ("https://x", r"untitled-[0-9a-f]{12}\.mp3"),
    ],
)
def test_names_of_urls(url: str, pattern: str) -> None:
    """The file name for a URL starts with the last part of the URL's path, without its suffix."""
    assert re.fullmatch(pattern, file_name(url))


def test_urls_with_one_last_part() -> None:
    """URLs with different paths get different file names, even if the last part is the same."""
    assert file_name("https://x/1/vocals.mp3") != file_name("https://x/2/vocals.mp3")
    assert file_name("https://x/1/vocals.mp3?a=1") == file_name("https://x/1/vocals.mp3?a=2")
    assert file_name("https://x/get?id=1") != file_name("https://x/get?id=2")


def test_a_url_that_is_not_valid() -> None:
    """For an invalid URL, `file_name` raises `ValueError`, but `plan_names` returns a name."""
    with pytest.raises(ValueError, match="Invalid IPv6"):
        file_name("http://[broken/x.mp3")
    assert names(record(media_urls=("http://[broken/x.mp4",))) == [f"audio-{TASK}.mp3"]


def test_the_plan_of_songs() -> None:
    """`plan_names` returns an audio file and a cover for each song, and no other files."""
    info = read_task_info(200, {}, SAMPLES["success"])
    first, second = (track.suno_id for track in info.tracks)
    assert names(info) == [
        f"雨の朝-{first}.mp3",
        f"雨の朝-{first}.jpeg",
        f"雨の朝-{second}.mp3",
        f"雨の朝-{second}.jpeg",
    ]
    assert [file.media for file in plan_names(info)] == ["audio", "image"] * 2
    assert [file.track for file in plan_names(info)[::2]] == list(info.tracks)
    assert all(file.url.endswith("_large.jpeg") for file in plan_names(info)[1::2])


def test_the_plan_of_stems_and_videos() -> None:
    """The names of stems and videos contain the id of the task."""
    stems = plan_names(read_task_info(200, {}, SAMPLES["vocal_separation"]))
    vocals = f"vocals-{TASK}.mp3"
    url = "https://cdn.example.com/vocals.mp3"
    assert stems[0] == PlannedFile(url, vocals, "audio", "vocals", None)
    assert stems[1].name == f"instrumental-{TASK}.mp3"
    (video,) = plan_names(read_task_info(200, {}, SAMPLES["video"]))
    assert (video.name, video.media) == (f"video-{TASK}.mp4", "video")
    sounds = record(media_urls=("https://x/1.mp3", "https://x/2.mp3", "https://x/2.png"))
    assert names(sounds) == [f"audio-{TASK}.mp3", f"audio-{TASK}-2.mp3", f"image-{TASK}.png"]


def test_a_song_keeps_its_name_alone() -> None:
    """`file_name` and `plan_names` give a song the same name if the template has no ``{index}``."""
    info = record(song(), song(suno_id=OTHER))
    for template in (None, "{title}", "{title}-{task_id}", "{kind}/{suno_id}"):
        planned = [file for file in plan_names(info, template) if file.media == "audio"]
        assert [file.name for file in planned] == [file_name(t, template) for t in info.tracks]


@pytest.mark.parametrize("template", [None, "{title}", "{kind}", "same", "{suno_id}", "{index}"])
def test_names_of_different_tasks(template: str | None) -> None:
    """With any template, files of different tasks have different names."""
    of_song = TaskParam(input={"suno_id": ID})
    urls = {"vocals": "https://x/vocals.mp3", "Vocals": "https://x/other/vocals.mp3"}
    infos = [
        record(song(), song(suno_id=OTHER)),
        record(song(suno_id=ID[::-1]), song(suno_id=OTHER[::-1]), task_id=TASK[::-1]),
        record(media_info=urls, param=of_song, task_id="a"),
        record(media_info=urls, param=of_song, task_id="b"),
        record(media_urls=("https://x/v.mp4", "https://x/w.mp4"), task_id="c"),
        record(media_urls=("https://x/v.mp4",), task_id="d"),
    ]
    found = [name.casefold() for info in infos for name in names(info, template)]
    assert len(set(found)) == len(found) == 15
    assert [names(info, template) for info in infos] == [names(i, template) for i in infos]


def test_many_equal_names() -> None:
    """Thousands of equal names get numbers that make them different."""
    found = names(record(media_urls=("https://x/a.mp3",) * 5000))
    assert len(set(found)) == 5000
    assert found[-1] == f"audio-{TASK}-5000.mp3"


@pytest.mark.parametrize("template", [None, "{title}"])
def test_numbers_take_linear_time(monkeypatch: pytest.MonkeyPatch, template: str | None) -> None:
    """The work for many names that differ only in case, or in their last bytes, is linear."""
    words = ["".join(each) for each in itertools.product("aA", repeat=10)]
    titles = ["\u96e8" * 50 + chr(0xC0 + each) for each in range(60)]
    long = [Track(suno_id="s" * 48, title=each, suno_audio_url="u") for each in titles]
    compared, fold = 0, names_module._folded  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (counts the work)

    def counted(name: str) -> str:
        nonlocal compared
        compared += 1
        return fold(name)

    monkeypatch.setattr(names_module, "_folded", counted)
    found = names(record(*long * 10, media_info=dict.fromkeys(words, "u")), template)
    assert len({each.casefold() for each in found}) == len(found) == 1624
    assert compared < 20_000


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "must be a template"),
        ("  ", "must be a template"),
        (7, "must be a template, not 7"),
        (["{title}"], "must be a template"),
        ("{artist}", r"unknown field \{artist\}; the fields are \{title\}"),
        ("{}", "unknown field"),
        ("{title.x}", "unknown field"),
        ("{title!r}", "must not contain '!'"),
        ("{index:03}", "must not contain '!' or ':'"),
        ("{title", "expected '}'"),
        ("title}", "Single '}'"),
        ("/{title}", "empty file or directory name"),
        ("{title}/", "empty file or directory name"),
        ("a//{title}", "empty file or directory name"),
        ("../{title}", "must not start with '.'"),
        ("./{title}", "must not start with '.'"),
        ("-{title}", "must not start with '.', '-'"),
        ("{title}.", "or end with '.'"),
        ("a /{title}", "or end with '.' or ' '"),
        ("a\\{title}", "must not contain"),
        ("C:{title}", "must not contain ':'"),
        ("{title}\n", r"must not contain '\\n'"),
        ("\ud800{title}", "must not contain"),
        ("雨" * 14 + "{title}", "more than 40 bytes"),
        ("a/b/c/d/e/{title}", "more than 4 directories"),
        ("{title}{title}", "contains a field twice"),
        ("{title}.mp3", "leave out '.mp3'"),
    ],
)
def test_invalid_templates(template: Any, problem: str) -> None:  # noqa: ANN401 (also values of a wrong type)
    """An invalid template raises an `InvalidInputError` that says what is wrong."""
    with pytest.raises(InvalidInputError, match=problem):
        check_template(template)


def test_a_template_that_nfc_makes_longer() -> None:
    """The limit for the text of a template applies to its NFC form, which the names have."""
    with pytest.raises(InvalidInputError, match="more than 40 bytes"):
        check_template("\U0001d160" * 4 + "{title}")
    (name, _) = names(record(song("\u96e8" * 80)), "\U0001d160{title}-{suno_id}")
    assert len(name.encode()) <= MOST_BYTES


def test_all_problems_at_once() -> None:
    """One error lists every problem of a template."""
    with pytest.raises(InvalidInputError) as caught:
        check_template("../{artist}|")
    assert len(caught.value.problems) == 3


# Properties of all names. Systems differ in which names they allow, and in which names they treat
# as equal.

DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)")

AWKWARD = st.sampled_from(
    [
        *("CON", "nul.txt", "COM¹", "lpt9 ", "..", ".", "-", "/", "\\", "a/../b", " ", ". .", "~"),
        *("\x00", "a\nb", "雨" * 100, "é" * 100, "e\u0301" * 90, "ﷺ" * 40, "👩‍👩‍👧", "\u202egpj"),
        *(
            "ẞ",
            "ss",
            "SS",
            "İ",
            "\u0131",
            "K",
            "\u212a",
            "\u017f",
            "\ud800",
            "각" * 60,
            "\u1100\u1161" * 60,
        ),
        *(
            "\uff23\uff2f\uff2e",
            "\ufe0f",
            "\u0301",
            "a" * 300,
            "{title}",
            "%00",
            "CON" + " " * 90 + "x",
        ),
    ]
)
TEXT = st.text(max_size=90) | st.text(st.characters(min_codepoint=0x300), max_size=90) | AWKWARD
IDS = st.uuids().map(str) | TEXT | st.just("")
LITERALS = st.sampled_from(["", "-", "_", " ", "x", "雨", "CON", ".5"])


@st.composite
def templates(draw: st.DrawFn) -> str | None:
    """Draw a valid template, or None."""
    parts: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        fields = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=5, unique=True))
        parts.append("".join(draw(LITERALS) + f"{{{each}}}" for each in fields).lstrip(" .-"))
    return "/".join(parts) or None


@st.composite
def records(draw: st.DrawFn) -> TaskInfo:
    """Draw a task record with songs, stems and other files. Its texts can be in any alphabet."""
    one, two, three = draw(TEXT), draw(IDS), draw(st.sampled_from([".mp3", ".jpeg", "", ".exe"]))
    tracks = [song(one, two, three), song(draw(TEXT), draw(IDS)), song(one, two, three)]
    stems = {draw(TEXT): "https://x/a.mp3" for _ in range(draw(st.integers(0, 5)))}
    urls = tuple(draw(st.lists(TEXT.map("https://x/{}".format), max_size=4)))
    return record(
        *draw(st.permutations(tracks)),
        task_id=draw(IDS),
        media_info=stems,
        media_urls=urls,
        param=TaskParam(input={"suno_id": draw(IDS)}),
    )


def check_component(name: str) -> None:
    """Check that a file or directory name is valid on Linux, macOS and Windows."""
    assert name not in {"", ".", ".."}
    assert len(name.encode()) <= MOST_BYTES <= 255 - PART
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f]', name)
    assert name[0] not in " .-"
    assert name[-1] not in " ."
    assert not DEVICE.match(name)
    assert not DEVICE.match(unicodedata.normalize("NFKC", name))
    assert unicodedata.is_normalized("NFC", name)


def spellings(name: str) -> set[str]:
    """Return keys of a name. Two names that an operating system may treat as equal share a key."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    return {f"{fold.__name__}:{fold(each)}" for each in forms for fold in (str.upper, str.casefold)}


@given(info=records(), template=templates())
def test_any_name_is_valid_and_unique(info: TaskInfo, template: str | None) -> None:
    """On every operating system, the names of a task's files are valid and different."""
    planned = plan_names(info, template)
    assert planned == plan_names(info, template)
    seen: set[str] = set()
    for file in planned:
        for part in file.name.split("/"):
            check_component(part)
        assert seen.isdisjoint(spellings(file.name))
        seen |= spellings(file.name)


@given(title=TEXT, template=templates())
@example(title="雨" * 72, template=None)
def test_any_title_keeps_the_id(title: str, template: str | None) -> None:
    """Any title gives a valid file name. Without a template, the name contains the song's id."""
    name = file_name(song(title), template)
    for part in name.split("/"):
        check_component(part)
    assert name.endswith(".mp3")
    assert template is not None or f"-{ID}" in f"-{name}"


@given(ids=st.lists(IDS, min_size=2, max_size=2, unique=True), title=TEXT, template=templates())
def test_any_two_songs_differ(ids: list[str], title: str, template: str | None) -> None:
    """Songs with equal titles but different ids get different names on every operating system."""
    if ids[0].casefold() != ids[1].casefold():  # some systems ignore the case of names
        one, other = (file_name(song(title, each), template) for each in ids)
        assert spellings(one).isdisjoint(spellings(other))
