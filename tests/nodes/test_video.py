"""The nodes of videos, on files of their own making."""

import json
import os
from fractions import Fraction

import numpy
import pytest
import torch

from nodes.saved_files import PathOutsideFolder
from nodes.video import CreateVideo, GetVideoComponents, LoadVideo, SaveVideo
from nodes.video_values import VideoFromComponents, VideoFromFile, VideoInput
from tests.support.media_files import (
    decoded_pictures,
    decoded_sound,
    described,
    frame_numbers,
    grey_frames,
    packets_of,
    sine,
    video_file,
)

RATE = 44100


def images(count: int = 10, width: int = 32, height: int = 16) -> torch.Tensor:
    return torch.from_numpy(numpy.stack(grey_frames(count, width, height)).astype(numpy.float32) / 255)


def shown_file(folders, ui: dict):
    (file,) = ui["images"]
    return folders.directory_of(file["type"]) / file["subfolder"] / file["filename"]


def test_images_and_sound_become_a_video_and_nothing_is_copied():
    given = images()
    audio = {"waveform": torch.from_numpy(sine(RATE))[None], "sample_rate": RATE}
    (video,) = CreateVideo.execute(given, 29.97, audio)
    assert isinstance(video, VideoFromComponents)
    components = video.get_components()
    assert components.images is given
    assert components.audio is audio
    assert components.frame_rate == Fraction(29.97)  # the very float, to its last bit
    assert CreateVideo.execute(images=given, fps=24)[0].get_components().audio is None


def test_a_video_taken_apart_is_what_it_was_made_of():
    given = images()
    audio = {"waveform": torch.zeros(1, 2, 100), "sample_rate": 8000}
    (video,) = CreateVideo.execute(given, 12.5, audio)
    taken = GetVideoComponents.execute(video)
    assert taken[0] is given
    assert taken[1] is audio
    assert taken[2] == 12.5
    assert type(taken[2]) is float


def test_a_file_taken_apart(folders):
    content = video_file(grey_frames(10), sound=sine(RATE), rate=Fraction(30000, 1001))
    (folders.input_directory / "a.mp4").write_bytes(content)
    (video,) = LoadVideo.execute("a.mp4")
    assert isinstance(video, VideoFromFile)
    taken, audio, fps = GetVideoComponents.execute(video)
    assert (taken.numpy() == numpy.stack(decoded_pictures(content)).astype(numpy.float32) / 255).all()
    assert torch.equal(audio["waveform"], torch.from_numpy(decoded_sound(content))[None])
    assert fps == pytest.approx(29.97, abs=0.001)
    (folders.input_directory / "b.mp4").write_bytes(video_file(grey_frames(3)))
    assert GetVideoComponents.execute(*LoadVideo.execute("b.mp4"))[1] is None


# --- loading ---------------------------------------------------------------------------------------------


def test_choices_are_video_files_alone(folders):
    for name in ("b.mp4", "a.webm", "c.MKV", "d.wav", "e.png", "f"):
        (folders.input_directory / name).touch()
    kind, options = LoadVideo.INPUT_TYPES()["required"]["file"]
    assert kind == "COMBO"
    assert options == {"multiselect": False, "options": ["a.webm", "b.mp4", "c.MKV"], "video_upload": True}


def test_a_missing_file_is_a_sentence_and_a_folder_may_be_named(folders):
    folders.output_directory.mkdir()
    (folders.output_directory / "a.mp4").write_bytes(video_file(grey_frames(2)))
    for name in ("a.mp4", "../output/a.mp4", "/etc/passwd", 5):
        assert LoadVideo.VALIDATE_INPUTS(file=name) == f"Invalid video file: {name}"
    assert LoadVideo.VALIDATE_INPUTS(file=None) is True
    assert LoadVideo.VALIDATE_INPUTS(file="a.mp4 [output]") is True
    assert LoadVideo.execute("a.mp4 [output]")[0].get_frame_count() == 2


def test_it_is_loaded_again_when_its_time_changes(folders):
    path = folders.input_directory / "a.mp4"
    path.touch()
    os.utime(path, (1000, 1000.5))
    assert LoadVideo.IS_CHANGED(file="a.mp4") == 1000.5
    os.utime(path, (1000, 2000))
    assert LoadVideo.IS_CHANGED(file="a.mp4") == 2000
    unknown = LoadVideo.IS_CHANGED(file=None)
    assert unknown != unknown


# --- saving ----------------------------------------------------------------------------------------------


def test_images_are_saved_with_workflow_and_prompt(folders):
    (video,) = CreateVideo.execute(images(), 25.0)
    prompt = {"1": {"class_type": "SaveVideo", "is_changed": [{1}]}}
    extra = {"workflow": {"ä": 1}, "more": 2}
    ui = SaveVideo.execute(video, "video/%width%x%height%", "auto", "auto", prompt, extra)["ui"]
    file = {"filename": "32x16_00001_.mp4", "subfolder": "video", "type": "output"}
    assert ui == {"images": [file], "animated": (True,)}
    content = shown_file(folders, ui).read_bytes()
    assert described(content)["video"] == ("h264", "yuv420p", 32, 16)
    assert frame_numbers([frame / 255 for frame in decoded_pictures(content)]) == list(range(10))
    tags = described(content)["tags"]
    assert tags["workflow"] == '{"\\u00e4": 1}'
    assert json.loads(tags["prompt"])["1"]["is_changed"] == ["{1}"]
    ours = [key for key in tags if key in ("workflow", "more", "prompt")]
    assert ours == ["workflow", "more", "prompt"]


def test_a_file_is_copied_with_new_metadata(folders):
    content = video_file(grey_frames(20), sound=sine(RATE), tags={"title": "old", "prompt": '"old"'})
    (folders.input_directory / "a.mp4").write_bytes(content)
    (video,) = LoadVideo.execute("a.mp4")
    ui = SaveVideo.execute(video, "x", prompt={"1": {}}, extra_pnginfo=None)["ui"]
    copy = shown_file(folders, ui).read_bytes()
    assert packets_of(copy) == packets_of(content)
    assert (described(copy)["tags"]["title"], described(copy)["tags"]["prompt"]) == ("old", '{"1": {}}')


def test_another_container_is_copied_into_mp4(folders):
    content = video_file(grey_frames(10), container="webm", codec="libvpx-vp9", options={})
    (folders.input_directory / "a.webm").write_bytes(content)
    ui = SaveVideo.execute(*LoadVideo.execute("a.webm"), "x", "auto", "auto")["ui"]
    path = shown_file(folders, ui)
    assert path.name == "x_00001_.mp4"
    assert "mp4" in described(path.read_bytes())["format"]
    assert packets_of(path.read_bytes()) == packets_of(content)
    ui = SaveVideo.execute(*LoadVideo.execute("a.webm"), "x", "mp4", "h264")["ui"]
    assert described(shown_file(folders, ui).read_bytes())["video"][0] == "h264"


def test_names(folders):
    (video,) = CreateVideo.execute(images(2), 25.0)

    def name(prefix: str) -> str:
        return SaveVideo.execute(video, prefix)["ui"]["images"][0]["filename"]

    assert [name("a"), name("a")] == ["a_00001_.mp4", "a_00002_.mp4"]
    (folders.output_directory / "a_00009_.png").touch()
    assert name("a") == "a_00010_.mp4"
    assert name("%batch_num%") == "0_00001_.mp4"
    assert SaveVideo.INPUT_TYPES()["required"]["filename_prefix"][1]["default"] == "video/ComfyUI"
    with pytest.raises(PathOutsideFolder):
        name("../a")
    assert sorted(entry.name for entry in folders.base_directory.iterdir()) == ["input", "output"]


def test_no_metadata_when_they_are_switched_off(folders):
    folders.save_metadata = False
    (video,) = CreateVideo.execute(images(2), 25.0)
    ui = SaveVideo.execute(video, "x", prompt={"1": {}}, extra_pnginfo={"workflow": {}})["ui"]
    assert not {"prompt", "workflow"} & described(shown_file(folders, ui).read_bytes())["tags"].keys()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(torch.zeros(2, 16, 15, 3), "even sides"), (torch.zeros(2, 16, 16, 4), "width, 3"),
     (torch.zeros(0, 16, 16, 3), "no frames")],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused_and_leaves_no_file(folders, given, sentence):
    (video,) = CreateVideo.execute(given, 25.0)
    with pytest.raises(ValueError, match=sentence):
        SaveVideo.execute(video, "x")
    assert list(folders.output_directory.iterdir()) == []


def test_unknown_choices_are_refused(folders):
    (video,) = CreateVideo.execute(images(2), 25.0)
    for options in ({"format": "webm"}, {"codec": "vp9"}):
        with pytest.raises(ValueError, match=r"webm|vp9"):
            SaveVideo.execute(video, "x", **options)


def test_an_interrupt_leaves_no_file(folders, engine):
    (video,) = CreateVideo.execute(images(8), 25.0)
    engine.stop_after = 4
    with pytest.raises(engine.Interrupted):
        SaveVideo.execute(video, "x")
    assert list(folders.output_directory.iterdir()) == []
    assert engine.bars[-1]["values"] == [1, 2, 3, 4]


def test_a_video_of_others_is_saved_by_its_own_method(folders):
    class Held(VideoInput):
        def get_components(self):
            return CreateVideo.execute(images(2), 25.0)[0].get_components()

        def save_to(self, path, format, codec, metadata=None):
            with open(path, "wb") as stream:
                stream.write(f"{format.value} {codec.value} {metadata}".encode())

    ui = SaveVideo.execute(Held(), "x", "mp4", "auto", {"1": 2}, None)["ui"]
    assert shown_file(folders, ui).read_bytes() == b"mp4 auto {'prompt': {'1': 2}}"
    (file,) = folders.output_directory.iterdir()
    assert file.name == "x_00001_.mp4"
