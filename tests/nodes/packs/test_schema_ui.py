"""What nodes show to people: what clients are told, and the files that are really there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nodes.packs.schema import io_words as io
from nodes.packs.schema import shown_results as ui
from nodes.packs.schema.node_class import locked_clone
from nodes.packs.schema.schema import HiddenHolder
from nodes.saved_files import PathOutsideFolder
from tests.support.schema_nodes import schema_node

IMAGES = torch.rand((2, 4, 6, 3), generator=torch.Generator().manual_seed(1))
SOUND = {"waveform": torch.sin(torch.arange(8000) / 9.0).reshape(1, 1, -1) * 0.5, "sample_rate": 8000}
PROMPT, WORKFLOW = {"1": {"class_type": "A", "inputs": {}}}, {"workflow": {"id": "w"}}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from nodes.environment import environment

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(environment, f"{name}_directory", tmp_path / name)
    return tmp_path


@pytest.fixture
def call() -> Any:
    """The class of a call that knows its prompt and its workflow."""
    return locked_clone(schema_node(lambda cls: None), HiddenHolder(prompt=PROMPT, extra_pnginfo=WORKFLOW))


def texts_of(path: Path) -> dict[str, Any]:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        return {name: json.loads(text) for name, text in picture.text.items()}  # type: ignore[attr-defined]


def test_previews_are_files_in_the_temp_folder(folders: Path, call: Any) -> None:
    from PIL import Image

    shown = ui.PreviewImage(IMAGES, cls=call).as_dict()
    assert shown["animated"] == (False,)
    files = [folders / "temp" / one["filename"] for one in shown["images"]]
    assert [(one["subfolder"], one["type"]) for one in shown["images"]] == [("", "temp")] * 2
    assert files[0].name.startswith("ComfyUI_temp_")
    assert texts_of(files[1]) == {"prompt": PROMPT, **WORKFLOW}
    with Image.open(files[1]) as picture:
        assert picture.size == (6, 4)
        assert picture.getpixel((5, 3)) == tuple(int(value * 255) for value in IMAGES[1, 3, 5].tolist())


def test_without_a_class_nothing_is_told_of_the_prompt(folders: Path) -> None:
    [one, _] = ui.PreviewImage(IMAGES).as_dict()["images"]
    assert texts_of(folders / "temp" / one["filename"]) == {}


def test_metadata_can_be_switched_off(folders: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nodes.environment import environment

    monkeypatch.setattr(environment, "save_metadata", False)
    [one, _] = ui.PreviewImage(IMAGES, cls=call).as_dict()["images"]
    assert texts_of(folders / "temp" / one["filename"]) == {}


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6)])
def test_masks_are_shown_grey(folders: Path, shape: tuple[int, ...]) -> None:
    from PIL import Image

    [one] = ui.PreviewMask(torch.full(shape, 0.2)).as_dict()["images"]
    with Image.open(folders / "temp" / one["filename"]) as picture:
        assert (picture.size, picture.mode, picture.getpixel((0, 0))) == ((6, 4), "RGB", (51, 51, 51))


def test_images_are_saved_one_by_one_with_counters(folders: Path, call: Any) -> None:
    shown = ui.ImageSaveHelper.get_save_images_ui(IMAGES, "deep/x_%batch_num%", call).as_dict()
    assert shown == {"images": [
        {"filename": f"x_{index}_{counter:05}_.png", "subfolder": "deep", "type": "output"}
        for index, counter in ((0, 1), (1, 2))]}
    again = ui.ImageSaveHelper.save_images(IMAGES[0], "deep/x_%batch_num%", io.FolderType.input, call, compress_level=9)
    assert [(one.filename, one.type) for one in again] == [("x_0_00001_.png", io.FolderType.input)]
    assert (folders / "input" / "deep" / "x_0_00001_.png").is_file()


def test_nothing_is_saved_outside_of_the_folder(folders: Path, call: Any) -> None:
    with pytest.raises(PathOutsideFolder):
        ui.ImageSaveHelper.save_images(IMAGES, "../x", io.FolderType.output, call)
    assert list(folders.rglob("*.png")) == []


def test_animated_images(folders: Path, call: Any) -> None:
    from PIL import Image

    png = ui.ImageSaveHelper.get_save_animated_png_ui(IMAGES, "a", call, fps=10.0, compress_level=4).as_dict()
    webp = ui.ImageSaveHelper.get_save_animated_webp_ui(IMAGES, "a", call, fps=10.0, lossless=True, quality=80,
                                                        method=5).as_dict()
    assert (png["animated"], webp["animated"]) == ((True,), (True,))
    assert [png["images"][0]["filename"], webp["images"][0]["filename"]] == ["a_00001_.png", "a_00002_.webp"]
    for shown in (png, webp):
        with Image.open(folders / "output" / shown["images"][0]["filename"]) as picture:
            assert picture.n_frames == 2  # type: ignore[attr-defined]
            if picture.format == "WEBP":
                assert picture.getexif()[0x0110] == f"prompt:{json.dumps(PROMPT)}"
    still = ui.ImageSaveHelper.get_save_animated_webp_ui(IMAGES[:1], "b", call, 10.0, False, 50, "fastest")
    assert "animated" not in still.as_dict()


@pytest.mark.parametrize(("file_format", "quality"), [("flac", "128k"), ("mp3", "V0"), ("opus", "64k")])
def test_sounds_are_saved_in_three_formats(folders: Path, call: Any, file_format: str, quality: str) -> None:
    import av

    [saved] = ui.AudioSaveHelper.get_save_audio_ui(SOUND, "s", call, file_format, quality).as_dict()["audio"]
    assert saved == {"filename": f"s_00001_.{file_format}", "subfolder": "", "type": "output"}
    with av.open(str(folders / "output" / saved["filename"])) as container:
        assert container.duration == pytest.approx(1_000_000, rel=0.15)
        tags = {**container.metadata, **container.streams[0].metadata}
    assert json.loads({name.lower(): value for name, value in tags.items()}["prompt"]) == PROMPT


def test_a_sound_is_previewed_as_flac(folders: Path) -> None:
    [one] = ui.PreviewAudio(SOUND).as_dict()["audio"]
    assert one["type"] == "temp"
    assert (folders / "temp" / one["filename"]).read_bytes()[:4] == b"fLaC"


def test_what_needs_no_file() -> None:
    saved = ui.SavedResult("v.mp4", "clips", io.FolderType.output)
    assert (saved.filename, saved.subfolder, saved.type) == ("v.mp4", "clips", io.FolderType.output)
    assert json.loads(json.dumps(ui.PreviewVideo([saved]).as_dict())) == {
        "images": [{"filename": "v.mp4", "subfolder": "clips", "type": "output"}], "animated": [True]}
    assert ui.PreviewUI3D("m.glb", {"x": 1}).as_dict() == {"result": ["m.glb", {"x": 1}]}
    assert ui.PreviewText("t").as_dict() == {"text": ("t",)}
    assert ui.SavedImages([saved], is_animated=True).as_dict() == {"images": [saved], "animated": (True,)}
    assert ui.SavedAudios([saved]).as_dict() == {"audio": [saved]}
