"""A pack in the style that reaches into its host: it replaces methods, adds routes, wraps nodes of others.

What its hooks saw is in `SEEN`, and is shown at `/hooking/seen`. Most of its hooks are put in place by
`/hooking/replace`, so that a test has only those that it asks for.
"""

import asyncio
import threading

from aiohttp import web
from comfy.utils import ProgressBar
from comfy_execution.progress import ProgressHandler, add_progress_handler, get_progress_state

import execution
import nodes
import server
from server import PromptServer

SEEN = []
LOOP_AT_IMPORT = asyncio.get_running_loop()
TICKS = []


async def tick():
    TICKS.append(1)


TASK = LOOP_AT_IMPORT.create_task(tick())  # noqa: RUF006 - it is kept

# --- nodes


class SaveLoudly(nodes.SaveImage):
    """The host's node under a name of our own, with a file name of our own."""

    FUNCTION = "save_loudly"
    CATEGORY = "hooking"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}, "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}}

    def save_loudly(self, images, prompt=None, extra_pnginfo=None):
        return self.save_images(images, "LOUD", prompt, extra_pnginfo)


class Fails:
    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "run", True, "hooking"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"why": ("STRING", {})}}

    def run(self, why):
        raise ValueError(why)


class SendsPicture:
    """Sends a picture as it is: the host makes the frame of it."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "send", "hooking", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "format": (["PNG", "JPEG"],)}}

    def send(self, image, format):
        from PIL import Image

        instance = server.PromptServer.instance
        picture = Image.fromarray((image[0] * 255).byte().numpy())
        instance.send_sync(server.BinaryEventTypes.UNENCODED_PREVIEW_IMAGE, [format, picture, None], instance.client_id)
        return {"ui": {"images": [{"source": "websocket"}]}}


class SendsPictureLater(SendsPicture):
    """The same from the loop."""

    async def send(self, image, format):
        return super().send(image, format)


class Tells:
    """Sends a message to the client of its prompt, from a thread that it started."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "run", True, "hooking"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {})}, "hidden": {"unique_id": "UNIQUE_ID"}}

    def run(self, text, unique_id):
        instance = PromptServer.instance
        said = {"text": text, "node": instance.last_node_id, "prompt": instance.last_prompt_id}
        sid = instance.client_id
        thread = threading.Thread(target=instance.send_sync, args=("hooking.told", said, sid))
        thread.start()
        thread.join()
        return {"ui": {"text": [text]}}


NODE_CLASS_MAPPINGS = {
    "HookingSendsPicture": SendsPicture, "HookingSendsPictureLater": SendsPictureLater,
    "SaveLoudly": SaveLoudly, "HookingFails": Fails, "HookingTells": Tells}


def wrapped(name):
    """A class of the host whose function is counted: put into the host's table under a name of our own."""
    original = nodes.NODE_CLASS_MAPPINGS[name]

    class Counted(original):
        CATEGORY = "hooking"
        CALLS = []

        def counted(self, **inputs):
            self.CALLS.append(sorted(inputs))
            return getattr(super(), original.FUNCTION)(**inputs)

        FUNCTION = "counted"

    return Counted


nodes.NODE_CLASS_MAPPINGS["CountedInvert"] = wrapped("ImageInvert")

# --- hooks


def on_prompt(data):
    """Changes what a client asked for where that says so."""
    SEEN.append(["on_prompt", sorted(data)])
    for node in data["prompt"].values():
        if isinstance(node, dict) and node.get("inputs", {}).get("text") == "change me":
            node["inputs"]["text"] = "changed"
    return data


def failing_on_prompt(data):
    raise RuntimeError("a handler that fails")


PromptServer.instance.add_on_prompt_handler(failing_on_prompt)
PromptServer.instance.add_on_prompt_handler(on_prompt)

original_execute = execution.PromptExecutor.execute
original_execute_async = execution.PromptExecutor.execute_async
original_error = execution.PromptExecutor.handle_execution_error
original_put = execution.PromptQueue.put
original_validate = execution.validate_prompt
original_inputs = execution.get_input_data
original_send = server.PromptServer.send_sync


def execute(self, prompt, prompt_id, extra_data=None, execute_outputs=()):
    thread = threading.current_thread()
    SEEN.append(["execute", prompt_id, sorted(prompt), execute_outputs, thread is threading.main_thread(),
                 PromptServer.instance.client_id])
    original_execute(self, prompt, prompt_id, extra_data, execute_outputs)
    SEEN.append(["executed", prompt_id, self.success, sorted(self.history_result["outputs"]),
                 [one[0] for one in self.status_messages]])


async def execute_async(self, *args, **kwargs):
    SEEN.append(["execute_async", asyncio.get_running_loop() is LOOP_AT_IMPORT])
    await original_execute_async(self, *args, **kwargs)
    SEEN.append(["executed_async", self.success])


def handle_execution_error(self, prompt_id, prompt, current_outputs, executed, error, ex):
    SEEN.append(["error", error["node_id"], error["node_type"], type(ex).__name__, str(ex)])
    return original_error(self, prompt_id, prompt, current_outputs, executed, error, ex)


def put(self, item):
    number, prompt_id, prompt, extra_data, outputs = item[:5]
    SEEN.append(["put", prompt_id, len(item), outputs])
    if extra_data.get("swallow"):
        return
    if extra_data.get("twice"):
        again = {key: value for key, value in extra_data.items() if key != "twice"}
        original_put(self, (number + 1, f"{prompt_id}-again", prompt, again, outputs, {}))
    original_put(self, (number, prompt_id, prompt, {**extra_data, "put": "here"}, *item[4:]))


async def validate_prompt(prompt_id, prompt, partial_execution_list):
    valid, error, outputs, node_errors = await original_validate(prompt_id, prompt, partial_execution_list)
    SEEN.append(["validate", valid, sorted(outputs), sorted(node_errors)])
    if any(node.get("inputs", {}).get("text") == "forbidden" for node in prompt.values()):
        return False, {"type": "forbidden", "message": "a pack says no", "details": "", "extra_info": {}}, [], {}
    return valid, error, outputs, node_errors


def send_sync(self, event, data, sid=None):
    if event != "status":
        SEEN.append(["send", event, sid, data.get("node") if isinstance(data, dict) else len(data)])
    original_send(self, event, data, sid)


def get_input_data(inputs, class_def, unique_id, *args, **kwargs):
    found = original_inputs(inputs, class_def, unique_id, *args, **kwargs)
    SEEN.append(["inputs", unique_id, class_def.__name__, sorted(found[0]), sorted(found[1])])
    return found


class Told(ProgressHandler):
    """Is told of the progress of one prompt."""

    def __init__(self):
        super().__init__("told")

    def start_handler(self, node_id, state, prompt_id):
        SEEN.append(["progress", "start", node_id, state["state"].value])

    def update_handler(self, node_id, value, max_value, state, prompt_id, image=None):
        SEEN.append(["progress", "update", node_id, value, max_value])

    def finish_handler(self, node_id, state, prompt_id):
        SEEN.append(["progress", "finish", node_id, state["state"].value])

    def reset(self):
        SEEN.append(["progress", "reset"])


class Watched:
    """Has the progress of its prompt told to a handler of the pack."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = ("INT",), "run", True, "hooking"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"steps": ("INT", {})}}

    def run(self, steps):
        add_progress_handler(Told())
        bar = ProgressBar(steps)
        bar.update(steps)
        return (get_progress_state().nodes.get("none", {}).get("value", steps),)


NODE_CLASS_MAPPINGS["HookingWatched"] = Watched

REPLACEMENTS = {
    "get_input_data": (execution, get_input_data),
    "execute": (execution.PromptExecutor, execute), "execute_async": (execution.PromptExecutor, execute_async),
    "handle_execution_error": (execution.PromptExecutor, handle_execution_error), "put": (execution.PromptQueue, put),
    "validate_prompt": (execution, validate_prompt), "send_sync": (server.PromptServer, send_sync),
}

# --- routes


@PromptServer.instance.routes.post("/hooking/replace")
async def replace(request):
    for name in await request.json():
        owner, function = REPLACEMENTS[name]
        setattr(owner, name, function)
    return web.Response()


@PromptServer.instance.routes.get("/hooking/seen")
async def seen(request):
    return web.json_response(SEEN)


@PromptServer.instance.routes.post("/hooking/queue")
async def queue_another(request):
    """Queues what is posted by way of the queue, from a thread, and shows what waits and runs."""
    queue = PromptServer.instance.prompt_queue
    item = await request.json()
    await asyncio.to_thread(queue.put, (item["number"], item["prompt_id"], item["prompt"], item["extra_data"],
                                        item["outputs"]))
    running, pending = queue.get_current_queue()
    return web.json_response({"running": [one[1] for one in running], "pending": [one[1] for one in pending]})
