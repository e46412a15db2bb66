"""Make a song from a prompt, then its cover, stems and video. Runs on the built-in sandbox."""

import asyncio

from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.sandbox import Sandbox

SPEED = 60  # the sandbox's jobs are this many times faster than real jobs


async def main() -> None:
    """Create a song. Then run three more jobs that use this song, all at the same time."""
    async with (
        Sandbox(seed=1, time_scale=SPEED, failure_share=0) as sandbox,
        # For the real service: SunoClient(), with the key in SUNO_API_KEY.
        SunoClient(sandbox.key, base_url=sandbox.url, policy=PollPolicy().scaled(SPEED)) as suno,
    ):
        job = GenerateMusic("slow piano, rain outside", instrumental=True)
        song = (await suno.run(job, max_credits=20)).tracks[0]
        print("song:", song.title, song.suno_audio_url)

        cover, parts, video = await asyncio.gather(
            suno.run(song.cover(prompt="the same as a bossa nova", instrumental=True)),
            suno.run(song.separate()),
            suno.run(song.video(author="Ann")),
        )
        print("cover:", cover.tracks[0].suno_audio_url)
        for name, url in parts.stems.items():
            print(f"stem {name}:", url)
        print("video:", video.video_url)


asyncio.run(main())
