"""How packs offer nodes that describe themselves by a schema, and the modules that they import for it."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, pack_of, write_packs

HEAD = """
from comfy_api.latest import ComfyExtension, io
def node(name, shown=None):
    def define_schema(cls):
        return io.Schema(node_id=name, display_name=shown, outputs=[io.Int.Output()])
    return type("Class" + name, (io.ComfyNode,), {
        "define_schema": classmethod(define_schema), "execute": classmethod(lambda cls: io.NodeOutput(1))})
class Extension(ComfyExtension):
    nodes, loads = [], []
    async def on_load(self):
        self.loads.append(1)
    async def get_node_list(self):
        return self.nodes
"""

SHOW_REPORTS = """
reports = await packs.load()
return {one.name: [one.node_names, one.error, one.refused_nodes] for one in reports}
"""

FAILING = {
    "no_function": ("comfy_entrypoint = 5", "its comfy_entrypoint is no function but a int"),
    "none": ("comfy_entrypoint = None", "its comfy_entrypoint is no function but a NoneType"),
    "other": ("def comfy_entrypoint(): return 5", "its comfy_entrypoint returned a int, which is no ComfyExtension"),
    "raises": ("async def comfy_entrypoint(): raise ValueError('no')", "it raised ValueError: no"),
    "exits": ("def comfy_entrypoint(): raise SystemExit(3)", "it raised SystemExit: 3"),
    "tuple": ("Extension.nodes = ()\ncomfy_entrypoint = Extension",
              "get_node_list of its extension returned a tuple, which is no list"),
    "plain": ("Extension.nodes = [int]\ncomfy_entrypoint = Extension",
              "its extension lists <class 'int'>, which is no node class of this kind"),
    "abstract": ("def comfy_entrypoint(): return ComfyExtension()", None),
}


def test_an_entrypoint_is_plain_or_async_and_names_nodes_as_their_schemas_do(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "plain.py": f"{HEAD}\nExtension.nodes = [node('One'), node('Two', 'Shown')]\ncomfy_entrypoint = Extension",
        "waits.py": f"{HEAD}\nimport asyncio\nExtension.nodes = [node('Three')]\n"
                    "async def comfy_entrypoint():\n    await asyncio.sleep(0)\n    return Extension()",
        "twin.py": f"{HEAD}\nExtension.nodes = [node('Four')]\ndef studio_entrypoint(): return Extension()"})
    answer = in_process(base, """
        reports = await packs.load()
        import nodes
        info = {name: packs.registry.get(name).info() for name in ("One", "Two", "Three", "Four")}
        return {"reports": {one.name: [one.node_names, one.error] for one in reports},
                "shown": [info[name]["display_name"] for name in info],
                "from": [info[name]["python_module"] for name in info],
                "tables": [nodes.NODE_CLASS_MAPPINGS["Two"].__name__, nodes.NODE_DISPLAY_NAME_MAPPINGS.get("One"),
                           nodes.NODE_DISPLAY_NAME_MAPPINGS["Two"]],
                "module": packs.pack("plain").Extension.nodes[0].RELATIVE_PYTHON_MODULE,
                "loads": [packs.pack(name).Extension.loads for name in ("plain", "waits", "twin")]}
    """)
    assert answer == {
        "reports": {"plain": [["One", "Two"], None], "waits": [["Three"], None], "twin": [["Four"], None]},
        "shown": [None, "Shown", None, None],
        "from": ["custom_nodes.plain", "custom_nodes.plain", "custom_nodes.waits", "custom_nodes.twin"],
        "tables": ["ClassTwo", None, "Shown"], "module": "custom_nodes.plain", "loads": [[1], [1], [1]]}


def test_an_entrypoint_that_is_not_as_it_should_be_fails_its_pack_alone(tmp_path: Path) -> None:
    files = {f"{name}.py": f"{HEAD}\n{source}" for name, (source, _) in FAILING.items()}
    base = write_packs(tmp_path, {**files, "z_good.py": pack_of("Good")})
    answer = in_process(base, SHOW_REPORTS)
    assert answer["z_good"] == [["Good"], None, {}]
    for name, (_, error) in FAILING.items():
        assert answer[name][0] == []
        assert error is None or answer[name][1] == error
    assert "get_node_list" in answer["abstract"][1]


def test_one_node_whose_schema_fails_costs_the_pack_that_node(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"half.py": f"""{HEAD}
class Broken(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return 1 / 0
    @classmethod
    def execute(cls): ...
class Empty(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema("Empty")
Extension.nodes = [Broken, node("Good"), Empty]
comfy_entrypoint = Extension
"""})
    [names, error, refused] = in_process(base, SHOW_REPORTS)["half"]
    assert (names, error) == (["Good"], None)
    assert "division by zero" in refused["Broken"]
    assert "has no execute" in refused["Empty"]


def test_a_table_of_classes_goes_before_an_entrypoint_and_may_hold_both_kinds(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"both.py": f"""{HEAD}
{pack_of("Old")}
NODE_CLASS_MAPPINGS["New"] = node("OtherName")
NODE_DISPLAY_NAME_MAPPINGS = {{"New": "Shown"}}
def comfy_entrypoint(): raise RuntimeError
"""})
    answer = in_process(base, """
        [report] = await packs.load()
        new = packs.registry.get("New")
        return [report.node_names, report.error, new.info()["display_name"], new.info()["name"],
                new.read_result(new.function(new.create())()).outputs]
    """)
    assert answer == [["Old", "New"], None, "Shown", "New", [1]]


def test_the_names_that_packs_import(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        import comfy_api.latest, comfy_api.v0_0_1, comfy_api.v0_0_2, comfy_api.version_list
        from comfy_api.latest import IO, UI, Caching, ComfyAPI, ComfyAPISync, ComfyExtension, Input, InputImpl, Types
        from comfy_api.latest import comfy_io, io, ui
        from comfy_api.latest.io import ComfyNode
        from comfy_api.input import AudioInput, ImageInput, LatentInput, MaskInput, VideoInput
        from comfy_api.input.basic_types import AudioInput as BasicAudio
        from comfy_api.input.video_types import VideoInput as TypedVideo
        from comfy_api.input_impl import VideoFromComponents, VideoFromFile
        from comfy_api.input_impl.video_types import VideoFromFile as TypedFile
        from comfy_api.util import VideoCodec, VideoComponents, VideoContainer
        from comfy_api.util.video_types import VideoContainer as TypedContainer
        import comfy_api.internal, torch
        from comfy_api.torch_helpers import set_torch_compile_wrapper
        try:
            set_torch_compile_wrapper(None)
        except NotImplementedError as error:
            said = str(error)
        return {
            "aliases": [IO is io is comfy_io, UI is ui, BasicAudio is AudioInput, TypedVideo is VideoInput,
                        TypedFile is VideoFromFile, TypedContainer is VideoContainer, ComfyNode is io.ComfyNode],
            "values": [Input.Image is torch.Tensor, ImageInput is MaskInput, Input.Audio is AudioInput,
                       Input.Video is VideoInput, Input.Latent is LatentInput, InputImpl.VideoFromFile is VideoFromFile,
                       Types.VideoCodec is VideoCodec, Types.VideoComponents is VideoComponents,
                       InputImpl.VideoFromComponents is VideoFromComponents],
            "missing": [hasattr(Input, "Nothing"), hasattr(comfy_api.v0_0_1, "io"),
                        hasattr(comfy_api.v0_0_2, "comfy_io")],
            "versions": [one.VERSION for one in comfy_api.version_list.supported_versions],
            "only one": [ComfyAPI() is ComfyAPI(), comfy_api.v0_0_2.ComfyAPI() is ComfyAPI(),
                         isinstance(comfy_api.v0_0_2.ComfyAPI(), ComfyAPI), ComfyAPISync() is ComfyAPISync()],
            "extension": comfy_api.v0_0_2.ComfyExtension is ComfyExtension, "said": said,
            "caching": sorted(name for name in dir(Caching) if name.startswith("Cache")),
        }
    """)
    assert answer["aliases"] == [True] * 7
    assert answer["values"] == [True] * 9
    assert answer["missing"] == [False, False, False]
    assert answer["versions"] == ["latest", "0.0.2", "0.0.1"]
    assert answer["only one"] == [True, False, True, True]
    assert answer["extension"] is True
    assert "torch.compile" in answer["said"]
    assert answer["caching"] == ["CacheContext", "CacheProvider", "CacheValue"]


def test_the_same_modules_under_the_other_names(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        from studio_api.latest import StudioAPI, StudioAPISync, StudioExtension, io
        import comfy_api.latest as latest
        return [StudioAPI is latest.ComfyAPI, StudioAPISync is latest.ComfyAPISync,
                StudioExtension is latest.ComfyExtension, io.StudioNode is latest.io.ComfyNode, io is latest.io]
    """)
    assert answer == [True] * 5


def test_what_clients_and_the_server_can_do(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        from comfy_api import feature_flags
        sockets = {"a": {"feature_flags": {"supports_preview_metadata": True, "size": 5}}, "b": {}}
        return [feature_flags.supports_feature(sockets, "a", "supports_preview_metadata"),
                feature_flags.supports_feature(sockets, "a", "size"),
                feature_flags.supports_feature(sockets, "b", "supports_preview_metadata"),
                feature_flags.get_connection_feature(sockets, "a", "size"),
                feature_flags.get_connection_feature(sockets, "c", "size", 7), feature_flags.get_server_features()]
    """)
    assert answer == [True, False, False, 5, 7, {}]


def test_caches_of_packs_and_replacements_are_taken_once(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        from comfy_api.latest import Caching, ComfyAPI, ComfyAPISync, io
        from nodes.packs.cache_providers import CACHE_PROVIDERS
        from nodes.packs.node_replacements import NODE_REPLACEMENTS
        class Mine(Caching.CacheProvider):
            async def on_lookup(self, context): ...
            async def on_store(self, context, value): ...
        mine, refused = Mine(), []
        for _ in range(2):
            await ComfyAPI().caching.register_provider(mine)
        counts = [len(CACHE_PROVIDERS)]
        ComfyAPISync().caching.unregister_provider(mine)
        counts.append(len(CACHE_PROVIDERS))
        replace = ComfyAPI().node_replacement.register
        for new in ("B", "C", "B"):
            await replace(io.NodeReplace(new, "A", input_mapping=[{"new_id": "x", "old_id": "y"}]))
        for bad in (io.NodeReplace(5, "A"), io.NodeReplace("B", "A", output_mapping=[5])):
            try:
                await replace(bad)
            except TypeError as error:
                refused.append(str(error))
        try:
            await ComfyAPI().caching.register_provider(object())
        except TypeError as error:
            refused.append(str(error))
        return [counts, NODE_REPLACEMENTS, refused]
    """)
    counts, replacements, refused = answer
    assert counts == [1, 0]
    assert [one["new_node_id"] for one in replacements["A"]] == ["B", "C"]
    assert replacements["A"][0] == {"new_node_id": "B", "old_node_id": "A", "old_widget_ids": None,
                                    "input_mapping": [{"new_id": "x", "old_id": "y"}], "output_mapping": None}
    assert len(refused) == 3
