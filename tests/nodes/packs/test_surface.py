"""The modules that packs import, used by packs that are loaded for real, some in a real engine."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, write_packs

RUN_PROMPT = """
import execution
from execution.events import NodeFailed, NodeProgressed, PromptFinished

async def run_prompt(prompt, interrupt_at=None):
    events = []
    async with execution.Engine(packs.registry) as engine:
        subscription = engine.subscribe()
        await engine.submit(execution.PromptSubmission(prompt=prompt))
        async for event in subscription:
            events.append(event)
            if isinstance(event, NodeProgressed) and event.value == interrupt_at:
                engine.interrupt()
            if isinstance(event, PromptFinished):
                return events

reports = await packs.load()
assert [one.error for one in reports] == [None] * len(reports), reports
"""


# --- comfy


def test_progress_and_context_of_a_pack_reach_the_engine(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"shows.py": """
        import asyncio
        from comfy.utils import ProgressBar
        from comfy_execution.progress import get_progress_state
        from comfy_execution.utils import CurrentNodeContext, get_executing_context

        SEEN, HOOKED = [], []

        class Shows:
            RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "run", True

            @classmethod
            def INPUT_TYPES(cls):
                return {"required": {"use_bar": ("BOOLEAN", {})}}

            async def run(self, use_bar):
                context = get_executing_context()
                SEEN.append([context.node_id, context.list_index, len(context.prompt_id) > 0])
                if use_bar:
                    bar = ProgressBar(4)
                    SEEN.append([bar.total, bar.current, bar.hook, bar.node_id])
                    bar.hook = lambda *args, **kwargs: HOOKED.append([*args, kwargs["node_id"]])
                    await asyncio.to_thread(bar.update, 3)
                else:
                    get_progress_state().update_progress("9", 2, 5)
                with CurrentNodeContext(context.prompt_id, node_id="other", list_index=3):
                    SEEN.append(list(get_executing_context())[1:])
                return {"ui": {"done": [1]}}

        NODE_CLASS_MAPPINGS = {"Shows": Shows}
    """})
    answer = in_process(base, RUN_PROMPT + """
answers = []
for use_bar in (True, False):
    events = await run_prompt({"8": {"class_type": "Shows", "inputs": {"use_bar": use_bar}},
                               "9": {"class_type": "PreviewAny", "inputs": {"source": 1}}})
    answers.append([[one.place.node_id, one.value, one.maximum, one.registry_only]
                    for one in events if isinstance(one, NodeProgressed)])
shows = packs.pack("shows")
from comfy_execution.utils import get_executing_context
return [answers, shows.SEEN, shows.HOOKED, get_executing_context()]
""")
    assert answer == [
        [[["8", 3, 4, False]], [["9", 2, 5, True]]],
        [["8", 0, True], [4, 0, None, "8"], ["other", 3], ["8", 0, True], ["other", 3]],
        [[3, 4, None, "8"]],
        None,
    ]


def test_a_plain_node_of_a_pack_stops_where_it_asks(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"stops.py": """
        import time
        import comfy.model_management as mm
        from comfy.utils import ProgressBar

        SEEN = []

        class Stops:
            RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "run", True

            @classmethod
            def INPUT_TYPES(cls):
                return {"required": {}}

            def run(self):
                SEEN.append(mm.processing_interrupted())
                ProgressBar(2).update(1)
                try:
                    for _ in range(1000):
                        time.sleep(0.005)
                        mm.throw_exception_if_processing_interrupted()
                except mm.InterruptProcessingException:
                    SEEN.append(mm.processing_interrupted())
                    raise

        NODE_CLASS_MAPPINGS = {"Stops": Stops}
    """})
    answer = in_process(base, RUN_PROMPT + """
events = await run_prompt({"1": {"class_type": "Stops", "inputs": {}}}, interrupt_at=1)
return [packs.pack("stops").SEEN, str(events[-1].outcome), any(isinstance(one, NodeFailed) for one in events)]
""")
    assert answer[0] == [False, True]
    assert "interrupt" in answer[1].lower()
    assert answer[2] is False


def test_devices_and_resizing_answer_as_packs_expect(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import comfy.model_management as mm, comfy.utils, torch
        mm.soft_empty_cache()
        mm.soft_empty_cache(True)
        larger = comfy.utils.common_upscale(torch.rand(1, 3, 4, 6), 12, 8, "bilinear", "disabled")
        expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return [mm.get_torch_device().type == expected, mm.intermediate_device().type, list(larger.shape)]
    """) == [True, "cpu", [1, 3, 8, 12]]


# --- comfy_execution


def test_a_pack_expands_and_blocks_with_the_names_it_knows(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"expands.py": """
        from comfy_execution.graph import DynamicPrompt, ExecutionBlocker, get_input_info
        from comfy_execution.graph_utils import GraphBuilder, is_link

        SEEN = []

        class Expands:
            RETURN_TYPES, FUNCTION = ("INT", "INT"), "run"

            @classmethod
            def INPUT_TYPES(cls):
                return {"required": {"link": ("INT", {"rawLink": True})}, "hidden": {"prompt": "DYNPROMPT"}}

            def run(self, link, prompt):
                SEEN.append([is_link(link), isinstance(prompt, DynamicPrompt), prompt.get_node(link[0])["inputs"]])
                graph = GraphBuilder()
                node = graph.node("PrimitiveInt", value=41)
                return {"result": (node.out(0), ExecutionBlocker(None)), "expand": graph.finalize()}

        class Notes:
            RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "run", True

            @classmethod
            def INPUT_TYPES(cls):
                return {"required": {"value": ("INT", {})}}

            def run(self, value):
                SEEN.append(value)
                return {}

        NODE_CLASS_MAPPINGS = {"Expands": Expands, "Notes": Notes}
        SEEN.append(get_input_info(Expands, "link"))
        SEEN.append(get_input_info(Expands, "prompt"))
        SEEN.append(get_input_info(Expands, "none"))
        SEEN.append(get_input_info(Expands, "x", {"optional": {"x": ("FLOAT",)}}))
    """})
    assert in_process(base, RUN_PROMPT + """
await run_prompt({
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 7}},
    "2": {"class_type": "Expands", "inputs": {"link": ["1", 0]}},
    "3": {"class_type": "Notes", "inputs": {"value": ["2", 0]}},
    "4": {"class_type": "Notes", "inputs": {"value": ["2", 1]}},
})
return packs.pack("expands").SEEN
""") == [["INT", "required", {"rawLink": True}], ["DYNPROMPT", "hidden", {}], [None] * 3, ["FLOAT", "optional", {}],
         [True, True, {"value": 7}], 41]


def test_names_that_are_the_engines_are_the_same_objects(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import comfy.model_management, comfy.utils, comfy_execution.graph, execution, nest_asyncio
        from comfy_execution import graph_utils
        nest_asyncio.apply()
        a = {"class_type": "A", "inputs": {"x": ["2", 0], "y": ["9", 0]}}
        b = {"class_type": "B", "inputs": {}}
        graph, links = graph_utils.add_graph_prefix({"1": a, "2": b}, [["1", 0], 5], "p.")
        node = graph_utils.GraphBuilder("q.").node("A", x=1)
        return [
            comfy_execution.graph.ExecutionBlocker is graph_utils.ExecutionBlocker is execution.ExecutionBlocker,
            comfy.model_management.InterruptProcessingException is execution.InterruptProcessing,
            issubclass(comfy.utils.ProgressBar, execution.ProgressBar), isinstance(node, graph_utils.Node),
            graph["p.1"]["inputs"], links, node.out(0), asyncio.get_running_loop().is_running(),
            all(issubclass(getattr(comfy_execution.graph, name), Exception)
                for name in ("DependencyCycleError", "NodeInputError", "NodeNotFoundError")),
        ]
    """) == [True, True, True, True, {"x": ["p.2", 0], "y": ["9", 0]}, [["p.1", 0], 5], ["q.1", 0], True, True]


# --- folder_paths


def test_folders_are_those_of_the_environment_at_each_reading(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        import os
        import folder_paths
        from nodes.environment import environment
        before = [folder_paths.__file__, folder_paths.base_path, folder_paths.models_dir,
                  folder_paths.get_input_directory(), folder_paths.output_directory,
                  folder_paths.get_directory_by_type("temp"), folder_paths.get_directory_by_type("else")]
        folder_paths.set_output_directory("/out")
        folder_paths.temp_directory = "/tmp/elsewhere"
        environment.user_directory = Path("/users")
        after = [str(environment.output_directory), folder_paths.output_directory,
                 str(environment.temp_directory), folder_paths.get_temp_directory(),
                 folder_paths.user_directory, folder_paths.get_user_directory()]
        return [before, after, os.path.dirname(os.path.realpath(folder_paths.__file__))]
    """)
    base = str(tmp_path)
    assert answer == [
        [f"{base}/folder_paths.py", base, f"{base}/models", f"{base}/input", f"{base}/output", f"{base}/temp", None],
        ["/out", "/out", "/tmp/elsewhere", "/tmp/elsewhere", "/users", "/users"], base]


def test_categories_are_one_live_table(tmp_path: Path) -> None:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    (tmp_path / "models" / "loras" / "a.safetensors").touch()
    (tmp_path / "models" / "loras" / "b.gguf").touch()
    (tmp_path / "curious").mkdir()
    (tmp_path / "curious" / "c.xyz").touch()
    base = write_packs(tmp_path, {"adds.py": """
        import os
        import folder_paths
        folder = os.path.join(folder_paths.base_path, "curious")
        folder_paths.folder_names_and_paths["curious"] = ([folder], {".xyz"})
        folder_paths.add_model_folder_path("vae", "/vae/of/a/pack", is_default=True)
        folder_paths.supported_pt_extensions.add(".gguf")
        NODE_CLASS_MAPPINGS = {}
    """})
    assert in_process(base, """
        await packs.load()
        import folder_paths
        from nodes.packs import model_folders
        try:
            folder_paths.get_full_path_or_raise("curious", "gone.xyz")
        except FileNotFoundError as error:
            missing = str(error)
        try:
            folder_paths.get_filename_list("nothing")
        except KeyError:
            unknown = True
        return [
            model_folders.list_files("curious"), folder_paths.get_filename_list("loras"), unknown, missing,
            folder_paths.get_folder_paths("vae")[0], folder_paths.get_full_path("curious", "../models/loras/b.gguf"),
            folder_paths.get_full_path_or_raise("curious", "c.xyz"), folder_paths.map_legacy("unet"),
            folder_paths.get_full_path("nothing", "x"),
        ]
    """) == [["c.xyz"], ["a.safetensors", "b.gguf"], True, "there is no file 'gone.xyz' in the folders of 'curious'",
             "/vae/of/a/pack", None, str(tmp_path / "curious" / "c.xyz"), "diffusion_models", None]


def test_annotated_names_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "a.png").touch()
    (tmp_path / "input" / "sub" / "deeper").mkdir(parents=True)
    base = str(tmp_path)
    assert in_process(tmp_path, """
        packs.install()
        import folder_paths as fp
        refused = []
        for name in ("../x.png", "/etc/passwd", "../../x.png [output]"):
            try:
                fp.get_annotated_filepath(name)
            except ValueError:
                refused.append(name)
        return [
            fp.annotated_filepath("a.png [output]"), fp.annotated_filepath("a.png"),
            fp.get_annotated_filepath("sub/b.png"), fp.get_annotated_filepath("a.png [output]"),
            fp.get_annotated_filepath("a.png", fp.base_path + "/temp"), len(refused),
            [fp.exists_annotated_filepath(one) for one in ("a.png [output]", "a.png", "../output/a.png")],
            fp.get_input_subfolders(), fp.is_within_directory(fp.base_path, fp.base_path + "/x/../y"),
            fp.is_within_directory(fp.base_path, "/etc"),
        ]
    """) == [["a.png", f"{base}/output"], ["a.png", None], f"{base}/input/sub/b.png", f"{base}/output/a.png",
             f"{base}/temp/a.png", 3, [True, False, False], ["sub", "sub/deeper"], True, False]


def test_names_of_saved_files_and_filters(tmp_path: Path) -> None:
    (tmp_path / "output" / "deep").mkdir(parents=True)
    (tmp_path / "output" / "deep" / "pic_00004_.png").touch()
    base = str(tmp_path)
    assert in_process(tmp_path, """
        packs.install()
        import folder_paths as fp
        try:
            fp.get_save_image_path("../../x", fp.output_directory)
        except Exception as error:
            refused = type(error).__name__
        saved = fp.get_save_image_path("deep/pic", fp.output_directory, 4, 5)
        files, times = fp.recursive_search(fp.output_directory, [".git"])
        return [saved, type(saved) is tuple, refused, files, list(times),
                fp.filter_files_extensions(["b.PNG", "a.png", "c.txt"], [".png"]),
                fp.filter_files_content_types(["a.png", "b.webp", "c.mp4", "d.wav", "e"], ["image", "video"])]
    """) == [[f"{base}/output/deep", "pic", 5, "deep", "deep/pic"], True, "PathOutsideFolder", ["deep/pic_00004_.png"],
             [f"{base}/output", f"{base}/output/deep"], ["a.png", "b.PNG"], ["a.png", "b.webp", "c.mp4"]]
