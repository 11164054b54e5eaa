"""Knows no socket: posts a prompt, and asks the history again and again until it is there.

    polls_the_history.py HOST:PORT PROMPT.json
"""

import json
import sys
import time
import urllib.request
from pathlib import Path

server_address, prompt_file = sys.argv[1:]
url = f"http://{server_address}/api"
body = json.dumps({"prompt": json.loads(Path(prompt_file).read_text())}).encode()
headers = {"Content-Type": "application/json"}
request = urllib.request.Request(f"{url}/prompt", data=body, headers=headers, method="POST")
with urllib.request.urlopen(request) as response:
    prompt_id = json.load(response)["prompt_id"]
while True:
    with urllib.request.urlopen(f"{url}/history/{prompt_id}") as response:
        history = json.load(response)
    if prompt_id in history:
        break
    time.sleep(0.05)
entry = history[prompt_id]
print(entry["status"]["status_str"], entry["status"]["completed"])
print(json.dumps(entry["outputs"], sort_keys=True))
