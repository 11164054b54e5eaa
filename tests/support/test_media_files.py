"""The makers of small media make what they say."""

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


def test_frames_can_be_told_apart_after_encoding():
    content = video_file(grey_frames(12), rate=12, tags={"title": "twelve"})
    assert frame_numbers([frame / 255 for frame in decoded_pictures(content)]) == list(range(12))
    facts = described(content)
    assert facts["video"] == ("h264", "yuv420p", 32, 16)
    assert (facts["rate"], facts["frames"], facts["tags"]["title"]) == (12, 12, "twelve")
    assert [kind for kind, _ in packets_of(content)] == ["video"] * 12


def test_sound_is_what_was_given():
    samples = (sine(1000, 2) * 2**15).astype("int16")
    assert (decoded_sound(sound_file(samples)) == samples).all()
