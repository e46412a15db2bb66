"""From one prompt to a song, its cover, its stems and a video. Runs on the built-in sandbox."""

import asyncio

from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.sandbox import Sandbox

SPEED = 60  # times as fast as the service


async def main() -> None:
    """Each further job starts from a finished song; the three run side by side."""
    async with (
        Sandbox(seed=1, time_scale=SPEED, failure_share=0) as sandbox,
        # For the real service: SunoClient(), with the key in SUNO_API_KEY.
        SunoClient(sandbox.key, base_url=sandbox.url, policy=PollPolicy().scaled(SPEED)) as suno,
    ):
        job = GenerateMusic(prompt="slow piano, rain outside", instrumental=True)
        song, _ = (await (await suno.create(job, max_credits=20))).tracks
        print("song:", song.title, song.suno_audio_url)

        cover, parts, video = await asyncio.gather(
            *[
                suno.create(each)
                for each in (
                    song.cover(prompt="the same as a bossa nova", instrumental=True),
                    song.separate(),
                    song.video(author="Ann"),
                )
            ]
        )
        print("cover:", (await cover).tracks[0].suno_audio_url)
        for name, url in (await parts).stems.items():
            print(f"stem {name}:", url)
        print("video:", (await video).video_url)


asyncio.run(main())
