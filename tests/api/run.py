"""What the API's document says, asked of the running stack: each line of docs/API.md, then whatever Schemathesis thinks of.

`.ci/run` says by PYTHONPATH where Schemathesis is. The database is this run's own, and goes with the next one.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WORKSPACE = HERE.parent.parent
STATE = WORKSPACE / "target/api"
PORT = 9472
URL = f"http://127.0.0.1:{PORT}"
ENVIRONMENT = {**os.environ, "NORVALT_STATE": str(STATE), "NORVALT_URL": URL}
# `schemathesis.toml` names them.
ORGANIZATIONS = ["tesla-oslo", "vw-bergen"]


def dev(*arguments):
    asked = subprocess.run(["cargo", "dev", *arguments], cwd=WORKSPACE, env=ENVIRONMENT, capture_output=True, text=True)
    if asked.returncode:
        sys.exit(asked.stderr)
    return asked.stdout.strip()


def start():
    """The stack, once it is ready; what it says until then is its own progress."""
    stack = subprocess.Popen(
        ["cargo", "dev", "--port", str(PORT), "--fresh"],
        cwd=WORKSPACE, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )
    for line in stack.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        if "Ready after" in line:
            return stack
    sys.exit(f"the stack ended with {stack.wait()}")


def save_callers(tokens):
    """For Schemathesis. The tokens live for an hour."""
    callers = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": token}]} for name, token in tokens.items()
    ]
    (STATE / "callers.json").write_text(json.dumps({"auth": callers}))


def main():
    stack = start()
    try:
        tokens = {name: f"Bearer {dev('token', '--org', name)}" for name in ORGANIZATIONS}
        save_callers(tokens)
        settings = dict(line.split("=", 1) for line in dev("env").splitlines())
        environment = {
            **ENVIRONMENT,
            "NORVALT_AUTH": f"Authorization: {tokens['tesla-oslo']}",
            "CLERK_WEBHOOK_SECRETS": settings["CLERK_WEBHOOK_SECRETS"],
        }
        config = str(HERE / "schemathesis.toml")
        checks = [
            [sys.executable, str(HERE / "curl.py")],
            [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{URL}/openapi.json"],
        ]
        failed = [subprocess.run(check, cwd=WORKSPACE, env=environment).returncode for check in checks]
    finally:
        stack.send_signal(signal.SIGINT)
        stack.wait()
    sys.exit(any(failed))


main()
