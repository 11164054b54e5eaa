"""Sound and videos through a whole server: made, saved, loaded again, refused, interrupted."""

import json
from pathlib import Path

from tests.inference.made_nodes import add_nodes, source
from tests.inference.studio_client import Prompt, connect, node
from tests.support.media_files import described, frame_numbers, grey_frames, sine, video_file
from tests.support.studio import running_studio


def file_of(base: Path, shown: dict) -> Path:
    return base / shown["type"] / shown["subfolder"] / shown["filename"]


def saved_video(images: dict) -> Prompt:
    return {
        "images": images,
        "video": node("CreateVideo", images=["images", 0], fps=25.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="x", format="auto", codec="auto"),
    }


async def test_a_video_and_its_sound_go_through_files_and_back() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        (studio.base_directory / "input").mkdir(exist_ok=True)
        content = video_file(grey_frames(10), sound=sine(17640), rate=25)
        (studio.base_directory / "input" / "a.mp4").write_bytes(content)
        run = await client.run({
            "load": node("LoadVideo", file="a.mp4"),
            "parts": node("GetVideoComponents", video=["load", 0]),
            "video": node("CreateVideo", images=["parts", 0], fps=["parts", 2], audio=["parts", 1]),
            "save": node("SaveVideo", video=["video", 0], filename_prefix="v/x", format="mp4", codec="h264"),
            "sound": node("LoadAudio", audio="a.mp4"),
            "flac": node("SaveAudio", audio=["sound", 0], filename_prefix="audio/ComfyUI"),
            "heard": node("PreviewAudio", audio=["parts", 1]),
            "fps": node("PreviewAny", source=["parts", 2]),
        }, extra_data={"extra_pnginfo": {"workflow": {"version": 1}}})
        assert run.succeeded
        assert run.shown["save"] == {
            "images": [{"filename": "x_00001_.mp4", "subfolder": "v", "type": "output"}], "animated": [True]}
        facts = described(file_of(studio.base_directory, run.shown["save"]["images"][0]).read_bytes())
        assert (facts["video"], facts["frames"], facts["rate"]) == (("h264", "yuv420p", 32, 16), 10, 25)
        assert facts["audio"] == ("aac", 44100, "stereo")
        facts = described(file_of(studio.base_directory, run.shown["flac"]["audio"][0]).read_bytes())
        assert facts["audio"] == ("flac", 44100, "stereo")
        assert json.loads(facts["tags"]["workflow"]) == {"version": 1}
        assert json.loads(facts["tags"]["prompt"])["sound"]["inputs"]["audio"] == "a.mp4"
        (heard,) = run.shown["heard"]["audio"]
        assert heard["type"] == "temp"
        assert file_of(studio.base_directory, heard).is_file()
        assert run.shown["fps"] == {"text": ["25.0"]}
        assert max(message["max"] for message in run.of("progress") if message["node"] == "save") == 10


async def test_what_was_made_can_be_loaded_by_its_folder() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        images = node("EmptyImage", width=32, height=32, batch_size=3, color=0x336699)
        assert (await client.run(saved_video(images))).succeeded
        run = await client.run({
            "load": node("LoadVideo", file="x_00001_.mp4 [output]"),
            "parts": node("GetVideoComponents", video=["load", 0]),
            "shown": node("PreviewImage", images=["parts", 0]),
        })
        assert len(run.shown["shown"]["images"]) == 3


async def test_missing_and_broken_files_are_told_apart() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        (studio.base_directory / "input").mkdir(exist_ok=True)
        (studio.base_directory / "input" / "broken.mp4").write_bytes(b"no video")
        for class_type, given in (("LoadVideo", "file"), ("LoadAudio", "audio")):
            kind = class_type.removeprefix("Load").lower()
            load = node(class_type, **{given: "missing.mp4"})
            refused = await client.refusal({"load": load, "shown": node("PreviewAny", source=["load", 0])})
            (error,) = refused["node_errors"]["load"]["errors"]
            assert error["type"] == "custom_validation_failed"
            assert error["details"].endswith(f"Invalid {kind} file: missing.mp4")
        run = await client.run({
            "load": node("LoadVideo", file="broken.mp4"),
            "parts": node("GetVideoComponents", video=["load", 0]),
            "shown": node("PreviewAny", source=["parts", 2]),
        })
        assert run.error["node_id"] == "parts"
        assert run.error["exception_message"].startswith("cannot read it as sound or video")


async def test_saving_is_interrupted_in_its_midst_and_leaves_no_file() -> None:
    import torch

    hours = torch.zeros(1, 1, 1, 3).expand(500_000, 256, 256, 3)  # of one pixel's memory
    async with running_studio() as studio, connect(studio.url) as client:
        add_nodes(studio, Hours=source(hours), Moment=source(hours[:2]))
        prompt_id = await client.submit(saved_video(node("Hours")))
        await client.until("progress", node="save", prompt_id=prompt_id)
        assert await client.send("/interrupt", {"prompt_id": prompt_id}) == 200
        run = await client.end_of(prompt_id)
        (interrupted,) = run.of("execution_interrupted")
        assert interrupted["node_id"] == "save"
        # The next one takes its turn when the thread is back, and finds the name free.
        assert (await client.run(saved_video(node("Moment")))).shown["save"]["images"][0]["filename"] == "x_00001_.mp4"
        assert [entry.name for entry in (studio.base_directory / "output").iterdir()] == ["x_00001_.mp4"]


async def test_frames_come_out_in_their_order() -> None:
    """Each as a picture of its own, which is how most people look at a video's frames."""
    import numpy
    from PIL import Image

    async with running_studio() as studio, connect(studio.url) as client:
        (studio.base_directory / "input").mkdir(exist_ok=True)
        (studio.base_directory / "input" / "a.mp4").write_bytes(video_file(grey_frames(12)))
        run = await client.run({
            "load": node("LoadVideo", file="a.mp4"),
            "parts": node("GetVideoComponents", video=["load", 0]),
            "save": node("SaveImage", images=["parts", 0], filename_prefix="frame"),
        })
        pictures = [Image.open(file_of(studio.base_directory, one)) for one in run.shown["save"]["images"]]
        assert frame_numbers([numpy.asarray(picture) / 255 for picture in pictures]) == list(range(12))
