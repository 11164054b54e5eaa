"""Takes pictures from the socket while a node runs: each binary frame is 8 bytes, then the picture.

    pictures_from_the_socket.py HOST:PORT PROMPT.json NODE FOLDER
"""

import json
import sys
import urllib.request
import uuid
from pathlib import Path

import websocket

server_address, prompt_file, wanted_node, folder = sys.argv[1:]
client_id = str(uuid.uuid4())
ws = websocket.WebSocket()
ws.connect(f"ws://{server_address}/ws?clientId={client_id}")
body = json.dumps({"prompt": json.loads(Path(prompt_file).read_text()), "client_id": client_id}).encode("utf-8")
prompt_id = json.loads(urllib.request.urlopen(
    urllib.request.Request(f"http://{server_address}/prompt", data=body)).read())["prompt_id"]

output_images = {}
current_node = ""
while True:
    out = ws.recv()
    if isinstance(out, str):
        message = json.loads(out)
        if message["type"] == "executing":
            data = message["data"]
            if data.get("prompt_id") == prompt_id:
                if data["node"] is None:
                    break
                current_node = data["node"]
    elif current_node == wanted_node:
        output_images.setdefault(current_node, []).append(out[8:])
ws.close()
for node_id, pictures in output_images.items():
    for number, picture in enumerate(pictures):
        Path(folder, f"{node_id}-{number}.jpg").write_bytes(picture)
        print(node_id, number, len(picture))
