"""What thousands of scripts do: post a prompt, wait on the socket until it is over, read the history, fetch the images.

    images_of_a_prompt.py HOST:PORT PROMPT.json FOLDER
"""

import json
import sys
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import websocket

server_address, prompt_file, folder = sys.argv[1:]
client_id = str(uuid.uuid4())


def queue_prompt(prompt):
    body = json.dumps({"prompt": prompt, "client_id": client_id}).encode("utf-8")
    request = urllib.request.Request(f"http://{server_address}/prompt", data=body)
    return json.loads(urllib.request.urlopen(request).read())


def get_image(filename, subfolder, folder_type):
    query = urllib.parse.urlencode({"filename": filename, "subfolder": subfolder, "type": folder_type})
    with urllib.request.urlopen(f"http://{server_address}/view?{query}") as response:
        return response.read()


def get_history(prompt_id):
    with urllib.request.urlopen(f"http://{server_address}/history/{prompt_id}") as response:
        return json.loads(response.read())


ws = websocket.WebSocket()
ws.connect(f"ws://{server_address}/ws?clientId={client_id}")
prompt_id = queue_prompt(json.loads(Path(prompt_file).read_text()))["prompt_id"]
while True:
    out = ws.recv()
    if not isinstance(out, str):
        continue  # a preview
    message = json.loads(out)
    if message["type"] == "executing":
        data = message["data"]
        if data["node"] is None and data["prompt_id"] == prompt_id:
            break
ws.close()
for node_id, shown in get_history(prompt_id)[prompt_id]["outputs"].items():
    for number, image in enumerate(shown.get("images", ())):
        picture = get_image(image["filename"], image["subfolder"], image["type"])
        Path(folder, f"{node_id}-{number}.png").write_bytes(picture)
        print(node_id, number, len(picture))
