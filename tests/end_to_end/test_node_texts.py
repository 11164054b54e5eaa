"""Text that a node shows on itself goes to the client of its prompt while the node runs."""

from tests.inference.studio_client import Binary, Message, Prompt, connect, node
from tests.support.studio import running_studio

TEXT = 3


def measuring(width: int, height: int, batch_size: int) -> Prompt:
    return {
        "picture": node("EmptyImage", width=width, height=height, batch_size=batch_size, color=0),
        "größe": node("GetImageSize", image=["picture", 0]),
        "shown": node("PreviewAny", source=["größe", 1]),
    }


def payload(node_id: str, text: str) -> bytes:
    return len(node_id.encode()).to_bytes(4, "big") + node_id.encode() + text.encode()


async def test_the_size_of_an_image_is_shown_on_its_node_before_the_node_ends():
    async with running_studio() as studio, connect(studio.url) as client, connect(studio.url, "other") as other:
        run = await client.run(measuring(6, 4, 2))
        assert run.succeeded
        assert run.shown == {"shown": {"text": ["4"]}}
        texts = [frame for frame in run.frames if isinstance(frame, Binary)]
        assert texts == [Binary(TEXT, payload("größe", "width: 6, height: 4\n batch size: 2"))]
        place = run.frames.index(texts[0])
        started = [frame.data["node"] for frame in run.frames[:place]
                   if isinstance(frame, Message) and frame.kind == "executing"]
        assert started == ["picture", "größe"]

        # The other client has read nothing of that; its own prompt is the first that it hears text of.
        run = await other.run(measuring(3, 5, 1))
        texts = [frame for frame in run.frames if isinstance(frame, Binary)]
        assert texts == [Binary(TEXT, payload("größe", "width: 3, height: 5\n batch size: 1"))]


async def test_texts_of_a_prompt_without_a_client_go_to_everybody():
    async with running_studio() as studio, connect(studio.url) as client, connect(studio.url, "other") as other:
        prompt_id = await client.submit(measuring(6, 4, 2), client_id=None)
        for one in (client, other):
            frame = await one.receive()
            while not isinstance(frame, Binary):
                frame = await one.receive()
            assert frame == Binary(TEXT, payload("größe", "width: 6, height: 4\n batch size: 2")), prompt_id
