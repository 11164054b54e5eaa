"""A pack sends a picture through `send_image`: it arrives as a preview, in the size that was asked for."""

from pathlib import Path

import pytest

from tests.nodes.packs.pack_process import in_process


@pytest.mark.parametrize(("kind", "number", "limit", "size"), [
    ("JPEG", 1, None, [8, 4]), ("PNG", 2, 4, [4, 2]), ("PNG", 2, 16, [16, 8])])
def test_a_picture_becomes_a_preview(tmp_path: Path, kind: str, number: int, limit: int | None,
                                     size: list[int]) -> None:
    answer = in_process(tmp_path, f"""
        packs.install()
        import io
        from PIL import Image
        from server import PromptServer
        picture = Image.new("RGB", (8, 4), (255, 0, 0))
        await PromptServer.instance.send_image(({kind!r}, picture, {limit}), sid="someone")
        [[event, frame, client]] = packs.messages.sent
        frame = bytes.fromhex(frame)
        shown = Image.open(io.BytesIO(frame[4:]))
        return [event, int.from_bytes(frame[:4], "big"), client, shown.format, list(shown.size)]
    """)
    assert answer == [1, number, "someone", kind, size]
