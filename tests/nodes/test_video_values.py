"""Videos in memory and in files: what they hold, parts of them, and the files that they are saved to."""

import io
import json
import logging
import math
import os
import threading
from fractions import Fraction

import av
import numpy
import pytest
import torch

from execution.value_size import measure
from nodes.media_streams import NotMedia, TooLarge
from nodes.video_values import (
    VideoCodec,
    VideoComponents,
    VideoContainer,
    VideoFromComponents,
    VideoFromFile,
    VideoFromList,
    VideoInput,
)
from tests.support.media_files import (
    decoded_pictures,
    decoded_sound,
    described,
    frame_numbers,
    grey_frames,
    packets_of,
    sine,
    sound_file,
    video_file,
)

RATE = 44100
NOISE = numpy.random.default_rng(1)


def images_of(frames: list[numpy.ndarray]) -> torch.Tensor:
    return torch.from_numpy(numpy.stack(frames).astype(numpy.float32) / 255)


def greys(count: int = 10, rate: Fraction | float = 25, sound: numpy.ndarray | None = None, **more) -> VideoComponents:
    audio = None if sound is None else {"waveform": torch.from_numpy(sound)[None], "sample_rate": RATE}
    return VideoComponents(images_of(grey_frames(count)), Fraction(rate), audio, **more)


def saved(video: VideoInput, **options) -> bytes:
    stream = io.BytesIO()
    video.save_to(stream, **options)
    return stream.getvalue()


def numbers(video: VideoInput) -> list[int]:
    return frame_numbers(list(video.get_components().images))


def in_memory(content: bytes) -> VideoFromFile:
    return VideoFromFile(io.BytesIO(content))


# --- words -----------------------------------------------------------------------------------------------


def test_containers_and_codecs():
    assert VideoContainer.as_input() == ["auto", "mp4"]
    assert VideoCodec.as_input() == ["auto", "h264"]
    assert VideoContainer.MP4 == "mp4"
    assert VideoContainer("auto") is VideoContainer.AUTO
    assert VideoContainer.get_extension("auto") == VideoContainer.get_extension(VideoContainer.MP4) == "mp4"
    with pytest.raises(ValueError, match="webm"):
        VideoContainer.get_extension("webm")


def test_a_video_of_others_needs_two_methods_only():
    class Held(VideoInput):
        def get_components(self):
            return greys(10, 20, sine(RATE // 2))

        def save_to(self, path, format=VideoContainer.AUTO, codec=VideoCodec.AUTO, metadata=None):
            path.write(video_file(grey_frames(10), rate=20))

    video = Held()
    assert video.get_dimensions() == (32, 16)
    assert (video.get_frame_count(), video.get_frame_rate(), video.get_duration()) == (10, 20, 0.5)
    assert video.get_container_format() == "mov,mp4,m4a,3gp,3g2,mj2"
    assert len(decoded_pictures(video.get_stream_source().read())) == 10
    part = video.as_trimmed(0.1, 0.2)
    assert numbers(part) == [2, 3, 4, 5]
    with pytest.raises(TypeError):
        VideoInput()


# --- of components ---------------------------------------------------------------------------------------


def test_components_are_handed_out_as_they_are():
    components = greys(4, 30, sine(100), metadata={"a": "b"})
    video = VideoFromComponents(components)
    assert video.get_components() == components
    assert video.get_components().images is components.images
    assert video.get_dimensions() == (32, 16)
    assert (video.get_frame_count(), video.get_frame_rate()) == (4, 30)
    assert video.get_duration() == pytest.approx(4 / 30)


def test_saving_makes_h264_and_aac_of_exact_pixels_rate_and_length(tmp_path):
    sound = sine(RATE)
    path = tmp_path / "a.mp4"
    VideoFromComponents(greys(10, 25, sound)).save_to(str(path))
    facts = described(path.read_bytes())
    assert facts["format"] == "mov,mp4,m4a,3gp,3g2,mj2"
    assert facts["video"] == ("h264", "yuv420p", 32, 16)
    assert facts["audio"] == ("aac", RATE, "stereo")
    assert (facts["rate"], facts["frames"]) == (25, 10)
    assert frame_numbers([frame / 255 for frame in decoded_pictures(path.read_bytes())]) == list(range(10))
    heard = decoded_sound(path.read_bytes())
    # 10 frames are 0.4 s; the decoder gives whole frames of 1024 samples.
    assert 17640 <= heard.shape[1] < 17640 + 1024
    assert numpy.abs(heard[:, 2000:16000] - sound[:, 2000:16000]).max() < 0.1


def test_values_are_cut_off_not_rounded(monkeypatch):
    seen = []
    given = av.VideoFrame.from_ndarray
    monkeypatch.setattr(av, "VideoFrame", type("Noted", (), {"from_ndarray": staticmethod(
        lambda pixels, kind: seen.append(pixels) or given(pixels, kind))}))  # fmt: skip
    values = torch.tensor([0.0, 0.5, 0.998, 1.0, 2.0, -1.0])
    images = values[:, None, None, None].expand(6, 16, 16, 3)
    saved(VideoFromComponents(VideoComponents(images, Fraction(5))))
    assert [int(pixels[0, 0, 0]) for pixels in seen] == [0, 127, 254, 255, 255, 0]


@pytest.mark.parametrize(
    ("rate", "stored"),
    [(Fraction(30000, 1001), Fraction(2997, 100)), (Fraction(23.976), Fraction(23976, 1000)), (1, 1), (120, 120)],
)
def test_rates_are_rounded_to_thousandths(rate, stored):
    content = saved(VideoFromComponents(greys(12, rate)))
    with av.open(io.BytesIO(content)) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(float(stored), rel=1e-5)


@pytest.mark.parametrize(("frames", "rate"), [(10, 25), (7, 30), (3, 29.97), (5, 1)])
def test_sound_is_cut_where_the_last_picture_ends(frames, rate, monkeypatch):
    from nodes import video_encoding

    given = []
    audio_frame = video_encoding.audio_frame

    def noted(samples, sample_rate, position):
        given.append((position, samples.copy()))
        return audio_frame(samples, sample_rate, position)

    monkeypatch.setattr(video_encoding, "audio_frame", noted)
    sound = sine(8 * RATE, 1)
    saved(VideoFromComponents(greys(frames, Fraction(rate), sound)))
    wanted = math.ceil(RATE * frames / Fraction(rate))
    joined = numpy.concatenate([samples for _, samples in given], axis=1)
    assert (joined == sound[:, :wanted]).all()
    assert [position for position, _ in given] == list(
        numpy.cumsum([0] + [samples.shape[1] for _, samples in given])[:-1])  # fmt: skip


def test_sound_that_ends_early_is_not_filled_up():
    content = saved(VideoFromComponents(greys(25, 25, sine(RATE // 4))))
    assert RATE // 4 <= decoded_sound(content).shape[1] < RATE // 4 + 1024
    assert len(decoded_pictures(content)) == 25


@pytest.mark.parametrize(
    ("channels", "rate", "layout", "stored"),
    [(1, 10000, "mono", 11025), (2, 96001, "stereo", 96000), (6, 48000, "5.1", 48000)],
)
def test_sound_of_any_rate_and_number_of_channels(channels, rate, layout, stored):
    audio = {"waveform": torch.from_numpy(sine(rate, channels, rate))[None], "sample_rate": rate}
    content = saved(VideoFromComponents(VideoComponents(images_of(grey_frames(25)), Fraction(25), audio)))
    assert described(content)["audio"] == ("aac", stored, layout)
    assert abs(decoded_sound(content).shape[1] / stored - 1) < 0.1


def test_sound_without_a_sample_is_left_out():
    for shape in ((1, 2, 0), (0, 2, 100)):
        audio = {"waveform": torch.zeros(shape), "sample_rate": RATE}
        content = saved(VideoFromComponents(VideoComponents(images_of(grey_frames(2)), Fraction(25), audio)))
        assert "audio" not in described(content)


def test_metadata_are_json_and_what_was_read_from_a_file_stays_as_it_was():
    components = greys(2, metadata={"title": "plain", "kept": {"a": 1}, "prompt": "old"})
    metadata = {"workflow": {"ü": [1]}, "prompt": {"1": {}}, "text": "x"}
    content = saved(VideoFromComponents(components), metadata=metadata)
    tags = described(content)["tags"]
    assert tags["title"] == "plain"
    assert json.loads(tags["kept"]) == {"a": 1}
    assert tags["workflow"] == '{"\\u00fc": [1]}'
    assert tags["prompt"] == '{"1": {}}'
    assert tags["text"] == '"x"'


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(2, 15, 16, 3), "even sides, and this one is 16x15"),
        (torch.zeros(2, 16, 15, 3), "even sides, and this one is 15x16"),
        (torch.zeros(2, 16, 16, 4), r"\[frames, height, width, 3\]"),
        (torch.zeros(16, 16, 3), r"\[frames, height, width, 3\]"),
        (torch.zeros(0, 16, 16, 3), "no frames"),
    ],
)
def test_what_cannot_be_encoded_is_refused_and_leaves_no_file(tmp_path, images, sentence):
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(ValueError, match=sentence):
        VideoFromComponents(VideoComponents(images, Fraction(25))).save_to(str(target / "a.mp4"))
    assert list(target.iterdir()) == []


def test_rates_formats_and_folders_that_there_are_not(tmp_path):
    with pytest.raises(ValueError, match=r"0\.0 frames a second"):
        saved(VideoFromComponents(greys(2, 0)))
    with pytest.raises(ValueError, match="webm"):
        saved(VideoFromComponents(greys(2)), format="webm")
    with pytest.raises(ValueError, match="vp9"):
        saved(VideoFromComponents(greys(2)), codec="vp9")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        VideoFromComponents(greys(2)).save_to(str(tmp_path / "nowhere" / "a.mp4"))


def test_saving_reports_progress_and_an_interrupt_leaves_the_old_file(tmp_path, engine):
    target = tmp_path / "out"
    target.mkdir()
    path = target / "a.mp4"
    path.write_bytes(b"old")
    video = VideoFromComponents(greys(6, 25, sine(RATE)))
    engine.stop_after = 3
    with pytest.raises(engine.Interrupted):
        video.save_to(path)
    assert [entry.name for entry in target.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"old"
    assert (engine.bars[-1]["total"], engine.bars[-1]["values"]) == (6, [1, 2, 3])
    engine.stop_after = None
    video.save_to(path)
    assert engine.bars[-1]["values"] == [1, 2, 3, 4, 5, 6]
    assert len(decoded_pictures(path.read_bytes())) == 6


# --- of a file: reading ----------------------------------------------------------------------------------


def test_frames_and_sound_are_the_decoder_s(tmp_path):
    frames = [NOISE.integers(0, 256, (48, 64, 3), dtype=numpy.uint8) for _ in range(5)]
    content = video_file(frames, sound=sine(RATE // 2), rate=10, tags={"title": "noise", "prompt": "{}"})
    (tmp_path / "a.mp4").write_bytes(content)
    for video in (VideoFromFile(str(tmp_path / "a.mp4")), VideoFromFile(tmp_path / "a.mp4"), in_memory(content)):
        components = video.get_components()
        assert torch.equal(components.images, images_of(decoded_pictures(content)))
        assert components.images.dtype == torch.float32
        assert components.frame_rate == 10
        assert isinstance(components.frame_rate, Fraction)
        assert torch.equal(components.audio["waveform"], torch.from_numpy(decoded_sound(content))[None])
        assert components.audio["sample_rate"] == RATE
        assert components.metadata == {"title": "noise", "prompt": "{}"}
        assert video.get_dimensions() == (64, 48)
        assert (video.get_frame_count(), video.get_frame_rate()) == (5, 10)
        assert video.get_duration() == pytest.approx(0.5)
        assert video.get_container_format() == "mov,mp4,m4a,3gp,3g2,mj2"


@pytest.mark.parametrize(
    ("container", "codec", "sound_codec", "pixels"),
    [("matroska", "h264", "aac", "yuv420p"), ("webm", "libvpx-vp9", None, "yuv420p"), ("gif", "gif", None, "rgb8"),
     ("avi", "mpeg4", "mp3", "yuv420p"), ("mpegts", "h264", "aac", "yuv420p"), ("ivf", "libvpx", None, "yuv420p")],
)  # fmt: skip
def test_other_containers(container, codec, sound_codec, pixels):
    sound = sine(2 * RATE // 5) if sound_codec else None
    content = video_file(grey_frames(10), sound=sound, rate=25, container=container, codec=codec,
                         sound_codec=sound_codec or "aac", pixels=pixels, options={})  # fmt: skip
    video = in_memory(content)
    components = video.get_components()
    assert torch.equal(components.images, images_of(decoded_pictures(content)))
    assert (components.audio is not None) == (sound_codec is not None)
    assert video.get_frame_count() == 10
    assert video.get_frame_rate() == 25
    assert video.get_duration() == pytest.approx(0.4, abs=0.06)
    assert container in video.get_container_format()


def test_integers_as_sound_become_floats():
    content = video_file(grey_frames(5), sound=sine(RATE // 5), container="mov", sound_codec="pcm_s16le")
    waveform = in_memory(content).get_components().audio["waveform"]
    assert waveform.dtype == torch.float32
    assert 0.45 < waveform.abs().max() < 0.55


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_pictures_of_a_telephone_are_upright(rotation):
    frame = numpy.zeros((32, 64, 3), numpy.uint8)
    frame[:16, :32] = 255
    content = video_file([frame] * 3, rotation=rotation)
    video = in_memory(content)
    upright = numpy.rot90(frame, rotation // 90)
    components = video.get_components()
    assert components.images.shape == (3, *upright.shape)
    assert (components.images[0] - torch.from_numpy(upright.copy()) / 255).abs().mean() < 0.03
    assert video.get_dimensions() == (upright.shape[1], upright.shape[0])
    # Encoded anew it is upright in the file, and nobody has to turn it.
    again = saved(video.as_trimmed(0.04))
    assert described(again)["video"][2:] == video.get_dimensions()
    assert in_memory(again).get_dimensions() == video.get_dimensions()
    assert (in_memory(again).get_components().images[0] - components.images[1]).abs().mean() < 0.03


def test_frames_of_another_size_are_brought_to_the_first_one_s():
    small, large = (video_file(grey_frames(3, size, 16), container="mpegts", options={}) for size in (16, 32))
    video = in_memory(small + large)
    assert video.get_dimensions() == (16, 16)
    components = video.get_components()
    assert components.images.shape[1:] == (16, 16, 3)
    assert len(components.images) == 6


def test_the_file_is_not_opened_before_it_is_asked(tmp_path):
    video = VideoFromFile(str(tmp_path / "later.mp4"))
    with pytest.raises(FileNotFoundError):
        video.get_dimensions()
    (tmp_path / "later.mp4").write_bytes(video_file(grey_frames(2)))
    assert video.get_dimensions() == (32, 16)


@pytest.mark.parametrize("content", [b"", b"no video", bytes(3000), video_file(grey_frames(5))[:800]])
def test_what_is_no_video_is_refused_with_a_sentence(content):
    for ask in ("get_components", "get_dimensions", "get_duration", "get_frame_count", "get_frame_rate"):
        with pytest.raises(NotMedia, match=r"cannot read it as sound or video|there is no video"):
            getattr(in_memory(content), ask)()


def test_sound_alone_is_no_video():
    content = sound_file((sine(1000) * 2**15).astype(numpy.int16))
    for ask in ("get_components", "get_dimensions", "get_duration"):
        with pytest.raises(NotMedia, match="there is no video in it"):
            getattr(in_memory(content), ask)()


def test_damage_costs_only_what_is_damaged(caplog):
    frames = [NOISE.integers(0, 256, (64, 64, 3), dtype=numpy.uint8) for _ in range(30)]
    content = video_file(frames, container="matroska")
    with caplog.at_level(logging.WARNING):
        images = in_memory(content[: len(content) // 2]).get_components().images
    assert 5 < len(images) < 30


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("nodes.machine_facts.memory_limit", lambda: 5 * 32 * 16 * 3 * 20)
    assert len(in_memory(video_file(grey_frames(20))).get_components().images) == 20
    with pytest.raises(TooLarge, match="memory"):
        in_memory(video_file(grey_frames(21))).get_components()


def test_reading_reports_progress_and_can_be_interrupted(engine):
    content = video_file(grey_frames(12))
    in_memory(content).get_components()
    assert engine.bars[-1]["total"] == 12
    assert engine.bars[-1]["values"] == list(range(1, 13))
    engine.stop_after = 5
    with pytest.raises(engine.Interrupted):
        in_memory(content).get_components()
    engine.stop_after = 2
    with pytest.raises(engine.Interrupted):
        in_memory(video_file(grey_frames(12), container="matroska")).get_frame_count()


def test_memory_can_be_read_by_several_at_once():
    video = in_memory(video_file(grey_frames(16), sound=sine(RATE // 2)))
    start = threading.Barrier(4)
    found: list[list[int]] = []

    def read() -> None:
        start.wait()
        found.append(numbers(video))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(16))] * 4


def test_a_source_of_the_stream(tmp_path):
    content = video_file(grey_frames(10))
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert VideoFromFile(str(path)).get_stream_source() == str(path)
    stream = in_memory(content).get_stream_source()
    assert (stream.tell(), stream.read()) == (0, content)
    part = VideoFromFile(str(path)).as_trimmed(0.2).get_stream_source()
    assert frame_numbers([frame / 255 for frame in decoded_pictures(part.read())]) == [5, 6, 7, 8, 9]
    made = VideoFromComponents(greys(4)).get_stream_source()
    assert made.tell() == 0
    assert len(decoded_pictures(made.read())) == 4


# --- of a file: saving -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"format": "mp4"}, {"codec": VideoCodec.H264}, {"format": "mp4", "codec": "h264"}]
)
def test_packets_are_copied_and_not_encoded_again(tmp_path, options):
    content = video_file(grey_frames(30), sound=sine(RATE), tags={"title": "old", "prompt": '"old"'})
    path = tmp_path / "a.mp4"
    in_memory(content).save_to(str(path), metadata={"prompt": {"1": 2}, "workflow": []}, **options)
    copy = path.read_bytes()
    assert packets_of(copy) == packets_of(content)
    tags = described(copy)["tags"]
    assert (tags["title"], tags["prompt"], tags["workflow"]) == ("old", '{"1": 2}', "[]")
    assert described(copy)["rate"] == 25
    assert (decoded_sound(copy) == decoded_sound(content)).all()


def test_a_copy_without_new_metadata_keeps_the_old(tmp_path):
    content = video_file(grey_frames(3), tags={"title": "old", "prompt": '"old"'})
    tags = described(saved(in_memory(content)))["tags"]
    assert (tags["title"], tags["prompt"]) == ("old", '"old"')


def test_a_copy_of_a_telephone_s_video_is_still_turned():
    frame = numpy.zeros((16, 32, 3), numpy.uint8)
    content = video_file([frame] * 2, rotation=90)
    copy = saved(in_memory(content))
    assert packets_of(copy) == packets_of(content)
    assert in_memory(copy).get_dimensions() == (16, 32)


def test_a_codec_that_is_not_wanted_is_encoded_anew(tmp_path):
    content = video_file(grey_frames(10), sound=sine(2 * RATE // 5), codec="mpeg4", tags={"title": "old"})
    kept, made = saved(in_memory(content)), saved(in_memory(content), codec="h264", metadata={"prompt": 1})
    assert described(kept)["video"][0] == "mpeg4"
    assert packets_of(kept) == packets_of(content)
    assert described(made)["video"] == ("h264", "yuv420p", 32, 16)
    assert described(made)["audio"] == ("aac", RATE, "stereo")
    assert described(made)["tags"]["title"] == "old"
    assert described(made)["tags"]["prompt"] == "1"
    assert numbers(in_memory(made)) == list(range(10))
    assert numpy.abs(decoded_sound(made)[:, 3000:15000] - decoded_sound(content)[:, 3000:15000]).max() < 0.1


def test_a_container_that_is_not_wanted_is_encoded_anew(tmp_path):
    content = video_file(grey_frames(10), container="matroska")
    kept, made = saved(in_memory(content)), saved(in_memory(content), format=VideoContainer.MP4)
    assert "matroska" in described(kept)["format"]
    assert packets_of(kept) == packets_of(content)
    assert "mp4" in described(made)["format"]
    assert packets_of(made) != packets_of(content)
    assert numbers(in_memory(made)) == list(range(10))


def test_the_extension_names_the_container_of_a_copy(tmp_path):
    content = video_file(grey_frames(10), container="webm", codec="libvpx-vp9", options={})
    for name, container in (("a.mp4", "mp4"), ("a.MKV", "matroska"), ("a.webm", "webm"), ("a", "matroska")):
        in_memory(content).save_to(tmp_path / name)
        copy = (tmp_path / name).read_bytes()
        assert container in described(copy)["format"]
        assert described(copy)["video"][0] == "vp9"
        assert packets_of(copy) == packets_of(content)


def test_what_the_container_cannot_hold_is_encoded_anew(tmp_path):
    content = video_file(grey_frames(10), sound=sine(2 * RATE // 5), container="matroska", sound_codec="pcm_s16le")
    path = tmp_path / "a.mp4"
    in_memory(content).save_to(path)
    facts = described(path.read_bytes())
    assert facts["audio"][0] == "aac"
    assert numbers(VideoFromFile(path)) == list(range(10))
    heard = decoded_sound(path.read_bytes())
    assert numpy.abs(heard[:, 2000:15000] - sine(2 * RATE // 5)[:, 2000:15000]).max() < 0.1


def test_odd_sides_can_be_copied_but_not_encoded(tmp_path):
    content = video_file(grey_frames(4, 33, 17), pixels="yuv444p")
    copy = saved(in_memory(content))
    assert described(copy)["video"] == ("h264", "yuv444p", 33, 17)
    odd = video_file(grey_frames(4, 33, 17), container="webm", codec="libvpx-vp9", options={})
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match="even sides, and this one is 33x17"):
        in_memory(odd).save_to(path, codec="h264")
    assert not path.exists()


def test_a_file_may_be_saved_to_itself(tmp_path):
    path = tmp_path / "a.mp4"
    content = video_file(grey_frames(5))
    path.write_bytes(content)
    VideoFromFile(str(path)).save_to(str(path), metadata={"prompt": 1})
    assert packets_of(path.read_bytes()) == packets_of(content)
    assert described(path.read_bytes())["tags"]["prompt"] == "1"


def test_copying_and_encoding_can_be_interrupted_and_leave_nothing(tmp_path, engine):
    content = video_file(grey_frames(30), codec="mpeg4")
    target = tmp_path / "out"
    target.mkdir()
    in_memory(content).save_to(target / "a.mp4")
    bar = engine.bars[-1]
    assert bar["total"] == len(content)
    assert bar["values"] == sorted(bar["values"])
    assert len(bar["values"]) >= 30
    os.unlink(target / "a.mp4")
    for codec in ("auto", "h264"):
        engine.stop_after = 9
        with pytest.raises(engine.Interrupted):
            in_memory(content).save_to(target / "a.mp4", codec=codec)
        assert list(target.iterdir()) == []


def test_a_disk_that_is_full_is_an_error_and_no_reason_to_encode(tmp_path, monkeypatch):
    content = video_file(grey_frames(5))

    def mux(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nodes.video_encoding._container_options", lambda _: mux())
    with pytest.raises(OSError, match="No space left"):
        in_memory(content).save_to(tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


# --- parts -----------------------------------------------------------------------------------------------

SIXTEEN = video_file(grey_frames(16), sound=sine(16 * RATE // 25), rate=25)
MATROSKA = video_file(grey_frames(16), sound=sine(16 * RATE // 25), rate=25, container="matroska")
STREAM = video_file(grey_frames(16), sound=sine(16 * RATE // 25), rate=25, container="mpegts")


@pytest.fixture(params=["components", "mp4", "matroska", "mpegts"])
def sixteen(request) -> VideoInput:
    """16 frames, 0.64 s."""
    if request.param == "components":
        return VideoFromComponents(greys(16, 25, sine(16 * RATE // 25)))
    return in_memory({"mp4": SIXTEEN, "matroska": MATROSKA, "mpegts": STREAM}[request.param])


@pytest.mark.parametrize(
    ("start", "duration", "kept"),
    [(0, 0, range(16)), (0.2, 0, range(5, 16)), (0, 0.2, range(5)), (0.2, 0.2, range(5, 10)), (0.21, 0.2, range(6, 11)),
     (0.28, 0.04, range(7, 8)), (0.6, 5, range(15, 16))],
)  # fmt: skip
def test_parts_have_the_frames_that_appear_in_them(sixteen, start, duration, kept):
    part = sixteen.as_trimmed(start, duration)
    assert numbers(part) == list(kept)
    assert part.get_frame_count() == len(kept)
    assert part.get_frame_rate() == 25
    assert part.get_dimensions() == (32, 16)


def test_parts_may_be_counted_from_the_end():
    for video in (VideoFromComponents(greys(16)), in_memory(SIXTEEN)):
        assert numbers(video.as_trimmed(-0.2)) == list(range(11, 16))
        assert numbers(video.as_trimmed(-0.2, 0.08)) == [11, 12]
        assert numbers(video.as_trimmed(-9, 0.08)) == [0, 1]


def test_the_sound_of_a_part_begins_and_ends_with_its_pictures(sixteen):
    whole = sixteen.get_components().audio["waveform"]
    part = sixteen.as_trimmed(0.2, 0.24).get_components().audio
    assert part["sample_rate"] == RATE
    assert part["waveform"].shape == (1, 2, round(0.44 * RATE) - round(0.2 * RATE))
    if not isinstance(sixteen, VideoFromComponents) and "mp4" not in sixteen.get_container_format():
        return  # times of sound are rounded there, or begin elsewhere
    assert torch.equal(part["waveform"], whole[..., round(0.2 * RATE) : round(0.44 * RATE)])


def test_parts_of_parts(sixteen):
    part = sixteen.as_trimmed(0.12).as_trimmed(0.12, 0.4).as_trimmed(0, 0.2)
    assert numbers(part) == [6, 7, 8, 9, 10]
    assert numbers(sixteen.as_trimmed(0, 0.4).as_trimmed(0.2, 9)) == [5, 6, 7, 8, 9]
    assert sixteen.as_trimmed(0.2, 0.2).get_duration() == pytest.approx(0.2)


def test_nothing_left_and_too_short():
    video = in_memory(SIXTEEN)
    assert video.as_trimmed(0.64) is None
    assert video.as_trimmed(5) is None
    assert video.as_trimmed(0.2, 0.5, strict_duration=True) is None
    assert numbers(video.as_trimmed(0.2, 0.44, strict_duration=True)) == list(range(5, 16))
    assert numbers(video.as_trimmed(start_time=0.2, duration=0.5)) == list(range(5, 16))
    for start, duration in ((0, -1), (math.nan, 0), (0, math.inf)):
        with pytest.raises(ValueError, match="cannot be trimmed"):
            video.as_trimmed(start, duration)


def test_a_part_may_be_asked_for_at_once():
    video = VideoFromFile(io.BytesIO(SIXTEEN), start_time=0.2, duration=0.2)
    assert numbers(video) == [5, 6, 7, 8, 9]
    assert video.get_duration() == pytest.approx(0.2)
    assert VideoFromFile(io.BytesIO(SIXTEEN), start_time=0.6, duration=1).get_duration() == pytest.approx(0.04)
    with pytest.raises(ValueError, match="-1 seconds"):
        VideoFromFile(io.BytesIO(SIXTEEN), duration=-1)


def test_a_part_is_saved_exactly(tmp_path):
    path = tmp_path / "a.mp4"
    in_memory(SIXTEEN).as_trimmed(0.28, 0.2).save_to(path)
    assert numbers(VideoFromFile(path)) == [7, 8, 9, 10, 11]
    heard, whole = decoded_sound(path.read_bytes()), decoded_sound(SIXTEEN)
    start = round(0.28 * RATE)
    assert abs(heard.shape[1] - RATE // 5) < 1024
    assert numpy.abs(heard[:, 1500:7500] - whole[:, start + 1500 : start + 7500]).max() < 0.1


def test_frames_of_uneven_times_belong_to_the_moment_at_which_they_appear():
    content = video_file(grey_frames(6), times=[0, 1, 2, 10, 11, 20], rate=10)
    assert numbers(in_memory(content).as_trimmed(0.15, 0.95)) == [2, 3]
    assert in_memory(content).as_trimmed(0.15, 0.95).get_frame_count() == 2


# --- several ---------------------------------------------------------------------------------------------


def test_several_one_after_the_other(tmp_path):
    loud, silent = greys(10, 25, sine(RATE)), VideoFromComponents(greys(4))
    video = VideoFromList([silent, VideoFromComponents(loud), in_memory(SIXTEEN)])
    assert video.get_frame_count() == 30
    assert video.get_duration() == pytest.approx(30 / 25)
    assert (video.get_dimensions(), video.get_frame_rate()) == ((32, 16), 25)
    components = video.get_components()
    assert frame_numbers(list(components.images)) == [*range(4), *range(10), *range(16)]
    waveform = components.audio["waveform"]
    assert waveform.shape == (1, 2, round(RATE * 30 / 25))
    begin = round(RATE * 4 / 25)
    assert waveform[..., :begin].abs().max() == 0
    assert torch.equal(waveform[..., begin : begin + 17640], loud.audio["waveform"][..., :17640])
    path = tmp_path / "a.mp4"
    video.save_to(path)
    assert numbers(VideoFromFile(path)) == [*range(4), *range(10), *range(16)][:30]
    assert numbers(video.as_trimmed(0.12, 0.08)) == [3, 0]


def test_several_with_sound_of_other_rates_and_channels():
    def part(channels: int, rate: int) -> VideoFromComponents:
        audio = {"waveform": torch.from_numpy(sine(rate, channels, rate))[None], "sample_rate": rate}
        return VideoFromComponents(VideoComponents(images_of(grey_frames(25)), Fraction(25), audio))

    audio = VideoFromList([part(2, RATE), part(1, 22050)]).get_components().audio
    assert (audio["sample_rate"], audio["waveform"].shape) == (RATE, (1, 2, 2 * RATE))
    second = audio["waveform"][0, :, RATE:]
    expected = torch.from_numpy(sine(RATE, 1))
    assert (second[:, 1000:40000] - expected[:, 1000:40000]).abs().max() < 0.02


def test_several_have_to_agree():
    other_size = VideoFromComponents(VideoComponents(torch.zeros(2, 16, 16, 3), Fraction(25)))
    with pytest.raises(ValueError, match="16x16 at 25 fps, 32x16 at 25 fps"):
        VideoFromList([other_size, VideoFromComponents(greys(2))]).get_components()
    with pytest.raises(ValueError, match="32x16 at 25 fps, 32x16 at 30 fps"):
        VideoFromList([VideoFromComponents(greys(2, 30)), VideoFromComponents(greys(2))]).get_components()
    with pytest.raises(ValueError, match="at least one"):
        VideoFromList([])
    assert VideoFromList([VideoFromComponents(greys(2))] * 2).get_components().audio is None


# --- the cache -------------------------------------------------------------------------------------------


def test_the_cache_can_tell_how_much_they_hold():
    components = greys(16, 25, sine(RATE))
    size = measure([[VideoFromComponents(components)]])
    assert size.is_known
    assert sum(size.shared.values()) == components.images.nbytes + components.audio["waveform"].nbytes
    size = measure([[VideoFromFile("/nowhere")]])
    assert size.is_known
    assert sum(size.shared.values()) == 0
    content = bytes(500_000)
    size = measure([[VideoFromFile(io.BytesIO(content)), VideoFromList([VideoFromComponents(components)])]])
    assert size.is_known
    assert sum(size.shared.values()) == len(content) + components.images.nbytes + components.audio["waveform"].nbytes
