"""Sound in files: what is loaded is what was written, and the other way round."""

import io
import json
import logging

import av
import numpy
import pytest
import torch

from nodes.audio import (
    LoadAudio,
    PreviewAudio,
    SaveAudio,
    decode_audio,
    media_file_names,
    preview_audio,
    resampled,
    save_audio,
    write_audio,
)
from nodes.media_streams import NotMedia, TooLarge, open_media
from nodes.saved_files import PathOutsideFolder
from tests.support.media_files import decoded_sound, described, grey_frames, sine, sound_file, video_file


def integers(samples: numpy.ndarray, bits: int) -> numpy.ndarray:
    return (samples.astype(numpy.float64) * 2 ** (bits - 1)).astype(f"int{bits}")


def spoken(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def write(folder, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return name


# --- loading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_16_bits_are_divided_by_their_full_scale(folders, channels):
    samples = integers(sine(5000, channels), 16)
    samples[0, 0] = -(2**15)
    write(folders.input_directory, "a.wav", sound_file(samples, rate=8000))
    (audio,) = LoadAudio().load("a.wav")
    assert audio["sample_rate"] == 8000
    assert audio["waveform"].dtype == torch.float32
    assert torch.equal(audio["waveform"], torch.from_numpy(samples.astype(numpy.float32) / 2**15)[None])
    assert audio["waveform"].min() == -1


def test_32_bits_and_24_bits():
    samples = integers(sine(3000), 32)
    loaded = decode_audio(io.BytesIO(sound_file(samples, codec="pcm_s32le", kind="s32")))["waveform"]
    assert torch.equal(loaded, torch.from_numpy(samples.astype(numpy.float32) / 2**31)[None])
    # 24 bits are the upper ones of 32.
    content = sound_file(samples, codec="pcm_s24le", kind="s32")
    loaded = decode_audio(io.BytesIO(content))["waveform"]
    assert torch.equal(loaded, torch.from_numpy((samples & ~255).astype(numpy.float32) / 2**31)[None])


@pytest.mark.parametrize(("codec", "kind", "dtype"), [("pcm_f32le", "flt", "f4"), ("pcm_f64le", "dbl", "f8")])
def test_floats_are_taken_as_they_are_even_beyond_full_scale(codec, kind, dtype):
    samples = (sine(3000) * 3).astype(dtype)
    loaded = decode_audio(io.BytesIO(sound_file(samples, codec=codec, kind=kind)))["waveform"]
    assert torch.equal(loaded, torch.from_numpy(samples.astype(numpy.float32))[None])
    assert loaded.max() > 1


def test_other_sample_types_are_refused():
    content = sound_file((sine(3000) * 100 + 128).astype(numpy.uint8), codec="pcm_u8", kind="u8")
    with pytest.raises(NotMedia, match="samples of type u8"):
        decode_audio(io.BytesIO(content))


def test_the_sound_of_a_video():
    sound = sine(44100)
    content = video_file(grey_frames(25), sound=sound)
    audio = decode_audio(io.BytesIO(content))
    assert torch.equal(audio["waveform"][0], torch.from_numpy(decoded_sound(content)))
    assert (audio["waveform"][0, :, 2000:40000] - torch.from_numpy(sound[:, 2000:40000])).abs().max() < 0.05


def test_lengths_that_do_not_fill_a_chunk():
    for length in (1, 7999, 8000, 8001, 24001):
        samples = integers(sine(length, 1, rate=8000), 16)
        loaded = decode_audio(io.BytesIO(sound_file(samples, rate=8000)))["waveform"]
        assert torch.equal(loaded, torch.from_numpy(samples.astype(numpy.float32) / 2**15)[None]), length


def test_a_recording_that_changes_midway_stays_in_one_form():
    mono, stereo = sine(20 * 44100, 1), sine(2 * 22050, 2, rate=22050)  # so long that opening sees only the first
    parts = []
    for samples, rate in ((mono, 44100), (stereo, 22050)):
        stream = io.BytesIO()
        write_audio(stream, torch.from_numpy(samples), rate, {}, "mp3")
        parts.append(stream.getvalue())
    audio = decode_audio(io.BytesIO(b"".join(parts)))
    assert audio["sample_rate"] == 44100
    assert audio["waveform"].shape[:2] == (1, 1)
    assert abs(audio["waveform"].shape[2] - 22 * 44100) < 8000
    assert 0.2 < audio["waveform"][..., 20 * 44100 + 10000 : 21 * 44100].abs().max() < 0.6


@pytest.mark.parametrize("content", [b"", b"no sound", bytes(5000), b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_what_is_no_media_is_refused_with_a_sentence(content):
    with pytest.raises(NotMedia, match=r"cannot read it as sound or video|there is no sound"):
        decode_audio(io.BytesIO(content))


def test_a_video_without_sound_is_refused():
    with pytest.raises(NotMedia, match="there is no sound in it"):
        decode_audio(io.BytesIO(video_file(grey_frames(2))))


def test_a_stream_without_samples_is_refused():
    header = sound_file(integers(sine(100), 16))
    with pytest.raises(NotMedia, match="no samples"):
        decode_audio(io.BytesIO(header[: header.index(b"data") + 8]))


def test_damage_costs_only_what_is_damaged(caplog):
    stream = io.BytesIO()
    write_audio(stream, spoken(1, 10 * 44100), 44100, {}, "flac")
    content = bytearray(stream.getvalue())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    with caplog.at_level(logging.WARNING):
        length = decode_audio(io.BytesIO(bytes(content)))["waveform"].shape[2]
    assert 8 * 44100 < length <= 10 * 44100 + 8192
    end = len(content) // 3
    assert 2 * 44100 < decode_audio(io.BytesIO(bytes(content[:end])))["waveform"].shape[2] < 4 * 44100


def test_playlists_that_name_other_files_are_not_followed(tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(sound_file(integers(sine(5000), 16)))
    lists = {
        "a.ffconcat": f"ffconcat version 1.0\nfile {secret.name}\n",
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret.as_uri()}\n#EXT-X-ENDLIST\n",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(NotMedia):
            decode_audio(tmp_path / name)


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("nodes.machine_facts.memory_limit", lambda: 100_000)
    assert decode_audio(io.BytesIO(sound_file(integers(sine(5000, 1), 16))))["waveform"].shape[2] == 5000
    with pytest.raises(TooLarge, match="memory"):
        decode_audio(io.BytesIO(sound_file(integers(sine(200_000, 1), 16))))


def test_loading_reports_progress_and_can_be_interrupted(engine):
    content = sound_file(integers(sine(4 * 44100), 16))
    decode_audio(io.BytesIO(content))
    assert engine.bars[-1]["total"] == 4
    assert engine.bars[-1]["values"][-1] == 4
    engine.stop_after = 3
    with pytest.raises(engine.Interrupted):
        decode_audio(io.BytesIO(content))


def test_a_file_in_memory_is_read_from_its_start_and_left_as_it_was():
    stream = io.BytesIO(sound_file(integers(sine(3000), 16)))
    stream.seek(17)
    first = decode_audio(stream)
    assert stream.tell() == 17
    assert torch.equal(first["waveform"], decode_audio(stream)["waveform"])


# --- the loader's choices --------------------------------------------------------------------------------


def test_choices_are_sound_and_video_files(folders):
    names = ["a.flac", "b.MP3", "c.wav", "d.ogg", "e.opus", "f.m4a", "g.mp4", "h.mkv", "i.webm", "j.mov", "k.png",
             "l.txt", "m", "n.ts"]  # fmt: skip
    for name in names:
        write(folders.input_directory, name, b"")
    (folders.input_directory / "folder.wav").mkdir()
    choices, options = LoadAudio.INPUT_TYPES()["required"]["audio"]
    assert choices == [name for name in names if name not in ("k.png", "l.txt", "m")]
    assert options == {"audio_upload": True}
    assert media_file_names(folders.input_directory, "video") == ["g.mp4", "h.mkv", "i.webm", "j.mov", "n.ts"]


def test_a_missing_file_is_a_sentence_and_a_folder_may_be_named(folders):
    folders.output_directory.mkdir()
    write(folders.output_directory, "a.wav", sound_file(integers(sine(100), 16)))
    assert LoadAudio.VALIDATE_INPUTS(audio="a.wav") == "Invalid audio file: a.wav"
    assert LoadAudio.VALIDATE_INPUTS(audio="../a.wav") == "Invalid audio file: ../a.wav"
    assert LoadAudio.VALIDATE_INPUTS(audio=5) == "Invalid audio file: 5"
    assert LoadAudio.VALIDATE_INPUTS(audio=None) is True
    assert LoadAudio.VALIDATE_INPUTS(audio="a.wav [output]") is True
    assert LoadAudio().load("a.wav [output]")[0]["waveform"].shape == (1, 2, 100)


def test_it_is_loaded_again_when_its_bytes_change(folders):
    write(folders.input_directory, "a.wav", b"one")
    before = LoadAudio.IS_CHANGED(audio="a.wav")
    write(folders.input_directory, "a.wav", b"one")
    assert LoadAudio.IS_CHANGED(audio="a.wav") == before
    write(folders.input_directory, "a.wav", b"two")
    assert LoadAudio.IS_CHANGED(audio="a.wav") != before
    unknown = LoadAudio.IS_CHANGED(audio=None)
    assert unknown != unknown


# --- saving ----------------------------------------------------------------------------------------------


def saved_bytes(folders, shown: dict) -> bytes:
    folder = folders.directory_of(shown["type"])
    return (folder / shown["subfolder"] / shown["filename"]).read_bytes()


def test_each_item_is_a_flac_of_16_bits_with_prompt_and_workflow(folders):
    audio = {"waveform": spoken(2, 2, 3000), "sample_rate": 32000}
    workflow = {"nodes": ["ü"]}
    shown = SaveAudio().save_flac(audio, "audio/x", {"1": {"is_changed": {1, 2}}}, {"workflow": workflow})
    files = shown["ui"]["audio"]
    assert files == [{"filename": f"x_0000{number}_.flac", "subfolder": "audio", "type": "output"} for number in (1, 2)]
    for item, file in zip(audio["waveform"], files, strict=True):
        content = saved_bytes(folders, file)
        stored = decoded_sound(content)
        assert stored.dtype == numpy.int16
        expected = numpy.clip(numpy.rint(item.numpy().astype(numpy.float64) * 2**15), -(2**15), 2**15 - 1)
        assert (stored == expected).all()
        facts = described(content)
        assert facts["audio"] == ("flac", 32000, "stereo")
        assert facts["tags"]["workflow"] == '{"nodes": ["\\u00fc"]}'
        assert json.loads(facts["tags"]["prompt"]) == {"1": {"is_changed": "{1, 2}"}}


def test_what_was_loaded_from_16_bits_is_saved_unchanged(folders):
    samples = numpy.arange(-(2**15), 2**15, dtype=numpy.int16)[None]
    write(folders.input_directory, "a.wav", sound_file(samples))
    shown = SaveAudio().save_flac(*LoadAudio().load("a.wav"), "x")
    assert (decoded_sound(saved_bytes(folders, shown["ui"]["audio"][0])) == samples).all()


def test_channels(folders):
    for channels, layout in ((1, "mono"), (2, "stereo"), (6, "stereo")):
        audio = {"waveform": torch.full((1, channels, 4000), 0.25), "sample_rate": 8000}
        (file,) = SaveAudio().save_flac(audio, "x")["ui"]["audio"]
        content = saved_bytes(folders, file)
        assert described(content)["audio"] == ("flac", 8000, layout)
        assert decoded_sound(content).shape == (min(2, channels), 4000)
        assert decoded_sound(content).min() > 0
    with pytest.raises(ValueError, match="1 to 8 channels, and this one has 9"):
        SaveAudio().save_flac({"waveform": torch.zeros(1, 9, 10), "sample_rate": 8000})


def test_values_beyond_full_scale_are_clipped_and_nan_is_silence(folders):
    waveform = torch.tensor([[[2.0, -2.0, float("nan"), float("inf"), 0.5]]])
    (file,) = SaveAudio().save_flac({"waveform": waveform, "sample_rate": 8000})["ui"]["audio"]
    assert decoded_sound(saved_bytes(folders, file)).tolist() == [[32767, -32768, 0, 32767, 16384]]


def test_integers_and_half_precision_are_sound_too(folders):
    samples = torch.tensor([[[-(2**15), 0, 2**14]]], dtype=torch.int16)
    for waveform in (samples, samples.to(torch.bfloat16) / 2**15):
        (file,) = SaveAudio().save_flac({"waveform": waveform, "sample_rate": 8000}, "x")["ui"]["audio"]
        assert decoded_sound(saved_bytes(folders, file)).tolist() == [[-(2**15), 0, 2**14]]


def test_names(folders):
    audio = {"waveform": spoken(2, 1, 100), "sample_rate": 8000}
    names = [file["filename"] for file in SaveAudio().save_flac(audio, "%width%-%batch_num%")["ui"]["audio"]]
    assert names == ["0-0_00001_.flac", "0-1_00002_.flac"]
    (folders.output_directory / "y_00007_.wav").touch()
    (file, _) = SaveAudio().save_flac(audio, "y")["ui"]["audio"]
    assert file["filename"] == "y_00008_.flac"
    with pytest.raises(PathOutsideFolder):
        SaveAudio().save_flac(audio, "../y")
    assert SaveAudio.INPUT_TYPES()["required"]["filename_prefix"][1]["default"] == "audio/ComfyUI"


def test_no_metadata_when_they_are_switched_off(folders):
    folders.save_metadata = False
    audio = {"waveform": spoken(1, 1, 100), "sample_rate": 8000}
    (file,) = SaveAudio().save_flac(audio, "x", {"1": {}}, {"workflow": {}})["ui"]["audio"]
    assert described(saved_bytes(folders, file))["tags"].keys() <= {"encoder"}


def test_a_name_that_no_tag_can_have_costs_only_itself(folders, caplog):
    audio = {"waveform": spoken(1, 1, 100), "sample_rate": 8000}
    extra = {"a=b": 1, "ü": 2, "": 3, "line\nbreak": 4, "workflow": 5}
    (file,) = SaveAudio().save_flac(audio, "x", None, extra)["ui"]["audio"]
    assert described(saved_bytes(folders, file))["tags"].keys() - {"encoder"} == {"workflow"}
    assert "cannot be the name of a tag" in caplog.text


def test_previews_are_temporary_and_each_instance_has_letters_of_its_own(folders):
    audio = {"waveform": spoken(1, 1, 100), "sample_rate": 8000}
    one, other = PreviewAudio(), PreviewAudio()
    first, second = (node.save_flac(audio=audio)["ui"]["audio"][0] for node in (one, one))
    third = other.save_flac(audio=audio)["ui"]["audio"][0]
    assert first["type"] == "temp"
    assert first["subfolder"] == ""
    prefix, letters, counter = first["filename"].removesuffix("_.flac").rsplit("_", 2)
    assert (prefix, counter) == ("ComfyUI_temp", "00001")
    assert len(letters) == 5
    assert letters.isalpha()
    assert second["filename"] == first["filename"].replace("00001", "00002")
    assert third["filename"].split("_")[2] != letters
    assert (folders.temp_directory / first["filename"]).is_file()


@pytest.mark.parametrize(
    ("audio", "sentence"),
    [
        (None, "AUDIO is a dict"),
        ({"waveform": torch.zeros(2, 100), "sample_rate": 8000}, "AUDIO is a dict"),
        ({"waveform": torch.zeros(1, 1, 100)}, "sample_rate"),
        ({"waveform": torch.zeros(1, 1, 100), "sample_rate": 0}, "sample_rate"),
        ({"waveform": torch.zeros(1, 1, 0), "sample_rate": 8000}, "no samples"),
    ],
)
def test_what_is_no_sound_is_refused_and_leaves_no_file(folders, audio, sentence):
    with pytest.raises(ValueError, match=sentence):
        SaveAudio().save_flac(audio, "x")
    assert not folders.output_directory.exists() or list(folders.output_directory.iterdir()) == []


def test_saving_reports_progress_and_an_interrupt_leaves_no_file(folders, engine):
    audio = {"waveform": spoken(1, 1, 5 * 8000 + 1), "sample_rate": 8000}
    SaveAudio().save_flac(audio, "x")
    assert (engine.bars[-1]["total"], engine.bars[-1]["values"]) == (6, [1, 2, 3, 4, 5, 6])
    engine.stop_after = 3
    with pytest.raises(engine.Interrupted):
        SaveAudio().save_flac(audio, "y")
    assert [entry.name for entry in folders.output_directory.iterdir()] == ["x_00001_.flac"]


def test_an_empty_batch_saves_nothing(folders):
    audio = {"waveform": torch.zeros(0, 1, 100), "sample_rate": 8000}
    assert SaveAudio().save_flac(audio, "x") == {"ui": {"audio": []}}


# --- formats for packs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "quality", "rate", "stored_rate"),
    [("mp3", "V0", 44100, 44100), ("mp3", "128k", 44101, 48000), ("mp3", "320k", 96000, 48000),
     ("opus", "64k", 22050, 24000), ("opus", "320k", 44100, 48000), ("opus", "128k", 96000, 48000)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_formats(folders, kind, quality, rate, stored_rate, channels):
    sound = sine(2 * rate, channels, rate)
    audio = {"waveform": torch.from_numpy(sound)[None], "sample_rate": rate}
    (file,) = save_audio(audio, "x", "temp", {"prompt": {"a": 1}, "workflow": "b"}, kind, quality)
    assert file == {"filename": f"x_00001_.{kind}", "subfolder": "", "type": "temp"}
    content = saved_bytes(folders, file)
    with open_media(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        tags = dict(container.metadata) | dict(stream.metadata)
        # Opus always decodes to 48 kHz; what it was encoded from is in its header.
        assert stream.rate == (48000 if kind == "opus" else stored_rate)
        assert stream.channels == channels
    assert json.loads(tags["prompt"]) == {"a": 1}
    assert tags["workflow"] == '"b"'
    heard = decode_audio(io.BytesIO(content))["waveform"]
    assert abs(heard.shape[2] / (48000 if kind == "opus" else stored_rate) - 2) < 0.1
    middle = heard[0, 0, heard.shape[2] // 4 : heard.shape[2] // 2]
    assert abs(float(middle.abs().max()) - 0.5) < 0.1


def test_quality_matters():
    def size(kind: str, quality: str) -> int:
        stream = io.BytesIO()
        write_audio(stream, spoken(2, 44100), 44100, {}, kind, quality)
        return len(stream.getvalue())

    assert abs(size("mp3", "128k") - 16000) < 2000
    assert abs(size("mp3", "320k") - 40000) < 4000
    assert size("mp3", "V0") not in (size("mp3", "128k"), size("mp3", "320k"))
    assert size("opus", "64k") < size("opus", "192k") < size("opus", "320k")


def test_unknown_formats_and_qualities_are_refused(folders):
    audio = {"waveform": spoken(1, 1, 100), "sample_rate": 8000}
    for kind, quality, sentence in (("wma", "128k", "unknown audio format 'wma'"), ("mp3", "best", "unknown quality"),
                                    ("opus", "V0", "unknown quality"), ("mp3", "9999k", "unknown quality")):
        with pytest.raises(ValueError, match=sentence):
            save_audio(audio, "x", "output", {}, kind, quality)
    with pytest.raises(ValueError, match="unknown folder"):
        save_audio(audio, "x", "elsewhere", {})
    assert list(folders.output_directory.iterdir()) == []


def test_a_preview_for_packs(folders):
    audio = {"waveform": spoken(1, 1, 100), "sample_rate": 8000}
    (one,), (other,) = (preview_audio(audio, {"prompt": {}}) for _ in range(2))
    assert one["type"] == "temp"
    assert one["filename"].startswith("ComfyUI_temp_")
    assert one["filename"] != other["filename"]
    assert described(saved_bytes(folders, one))["tags"]["prompt"] == "{}"


# --- resampling ------------------------------------------------------------------------------------------


def test_resampling_keeps_pitch_and_length():
    sound = torch.from_numpy(sine(22050, 1, 22050))
    higher = resampled(sound, 22050, 44100, 2)
    assert higher.shape[0] == 2
    assert abs(higher.shape[1] - 44100) < 100
    expected = torch.from_numpy(sine(44100, 1, 44100))
    assert (higher[0, 1000:40000] - expected[0, 1000:40000]).abs().max() < 0.02
    assert torch.equal(resampled(sound, 22050, 22050, 1), sound)
    assert torch.equal(resampled(sound, 22050, 22050, 2)[1], resampled(sound, 22050, 22050, 2)[0])


def test_libav_is_imported_on_first_use():
    assert av.__name__ == "av"  # imported here, by the tests alone
    import ast
    import pathlib

    import nodes.audio

    folder = pathlib.Path(nodes.audio.__file__).parent
    for name in ("audio", "media_streams", "video", "video_encoding", "video_values", "whole_files"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        at_once = [node for node in tree.body if isinstance(node, ast.Import)]
        assert not {alias.name for node in at_once for alias in node.names} & {"av", "numpy", "torch", "PIL"}, name
