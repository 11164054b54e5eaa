"""Texts through a whole server, and a pattern that backtracks for ever: it may stop neither the server nor its end."""

from tests.inference.studio_client import Prompt, connect, node
from tests.support.studio import running_studio


def shown(class_type: str, **inputs: object) -> Prompt:
    return {"text": node(class_type, **inputs), "shown": node("PreviewAny", source=["text", 0])}


def searching(string: str, pattern: str) -> Prompt:
    flags = {"case_insensitive": True, "multiline": False, "dotall": False}
    return shown("RegexMatch", string=string, regex_pattern=pattern, **flags)


async def test_texts_flow_from_node_to_node() -> None:
    prompt = {
        "a": node("StringTrim", string="  2031-02-03 ", mode="Both"),
        "b": node("RegexReplace", string=["a", 0], regex_pattern=r"(\d+)-(\d+)-(\d+)", replace=r"\3.\2.\1"),
        "c": node("StringConcatenate", string_a=["b", 0], string_b="ß", delimiter=" "),
        "d": node("CaseConverter", string=["c", 0], mode="UPPERCASE"),
        "length": node("StringLength", string=["d", 0]),
        "shown": node("PreviewAny", source=["d", 0]),
        "counted": node("PreviewAny", source=["length", 0]),
    }
    async with running_studio() as studio, connect(studio.url) as client:
        run = await client.run(prompt)
        assert run.shown == {"shown": {"text": ["03.02.2031 SS"]}, "counted": {"text": ["13"]}}


async def test_modes_are_checked_and_choices_of_another_route_are_not() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        refused = await client.refusal(shown("StringTrim", string="a", mode="Sideways"))
        assert refused["node_errors"]["text"]["errors"][0]["type"] == "value_not_in_list"
        refused = await client.refusal(shown("LoadImageOutput", image="a.png [output]"))
        (error,) = refused["node_errors"]["text"]["errors"]
        assert error["type"] == "custom_validation_failed"
        assert error["details"].endswith("Invalid image file: a.png [output]")


async def test_an_endless_search_lets_the_server_go_on_and_can_be_interrupted() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        prompt_id = await client.submit(searching("a" * 99 + "b", "(a+)+$"))
        await client.until("executing", node="text", prompt_id=prompt_id)
        queue = await client.get("/queue")
        assert [entry[1] for entry in queue["queue_running"]] == [prompt_id]
        assert await client.send("/interrupt", {"prompt_id": prompt_id}) == 200
        run = await client.end_of(prompt_id)
        (interrupted,) = run.of("execution_interrupted")
        assert interrupted["node_id"] == "text"
        # Its thread has come back with it: with every token taken this would wait.
        for string in "abc":
            run = await client.run(searching(string, "[ab]"))
            assert run.shown == {"shown": {"text": [str(string != "c")]}}


async def test_a_replacement_that_cannot_be_used_is_an_error_of_its_node() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        run = await client.run(shown("RegexReplace", string="a", regex_pattern="a", replace=r"\1"))
        assert run.error["node_id"] == "text"
        assert "invalid group reference 1" in run.error["exception_message"]
