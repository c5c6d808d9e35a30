"""Start the service for a trained model, submit a request over HTTP, and wait until it is served. Extra: serve.

python examples/serve.py [--any_key=value ...]
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from recbole_unlearn import run_unlearn
from recbole_unlearn.deletion.preparation import prepare
from recbole_unlearn.report.files import model_file
from recbole_unlearn.saved_model import load_model

SETTINGS = {"forget_type": "random", "forget_ratio": 0.001, "unlearn_methods": ["DropEdges"]}  # leaves a checkpoint
SERVE = [sys.executable, "-m", "recbole_unlearn", "serve"]


def main(arguments: list[str]) -> None:
    """Train (or load the same training), serve, submit, wait, stop."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    report = run_unlearn(
        model=given.pop("model", "LightGCN"), dataset=given.pop("dataset", "ml-100k"), config_dict={**SETTINGS, **given}
    )
    checkpoint = model_file(report["config"], "original")
    store = prepare(checkpoint).folder
    _, model, tokens = load_model(checkpoint)
    user, item = tokens["user"][int(model.graph.users[0])], tokens["item"][int(model.graph.items[0])]

    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.txt"
        made = subprocess.run([*SERVE, "--new_key=shop", f"--keys={keys}"], capture_output=True, text=True, check=True)
        service = subprocess.Popen(
            [*SERVE, f"--store={store}", f"--keys={keys}", "--port=0"], stderr=subprocess.PIPE, text=True
        )
        try:
            url = next(found[1] for line in service.stderr if (found := re.search(r" on (http\S+)", line)))
            key = made.stdout.split()[-1]
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
                row = {"scope": "interaction", "user": user, "item": item}
                answer = client.post("/requests", json={"request_id": "r1", "rows": [row]})
                print(answer.status_code, answer.json())
                while (status := client.get("/requests/r1").json()["status"]) in ("pending", "in_progress"):
                    time.sleep(0.2)
                print(status, client.get("/receipts/r1").json()["counts"])
        finally:
            service.terminate()
            service.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
