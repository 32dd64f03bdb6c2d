"""What the API's document says, asked of the running stack: each line of docs/API.md.

The database is this run's own, and goes with the next one.
"""

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


def dev(*arguments):
    return ["cargo", "dev", *arguments]


def start():
    """The stack, once it is ready; what it says until then is its own progress."""
    stack = subprocess.Popen(
        dev("--port", str(PORT), "--fresh"), cwd=WORKSPACE, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    for line in stack.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        if "Ready after" in line:
            return stack
    sys.exit(f"the stack ended with {stack.wait()}")


def token(organization):
    minted = subprocess.run(
        dev("token", "--org", organization), cwd=WORKSPACE, env=ENVIRONMENT, capture_output=True, text=True
    )
    if minted.returncode:
        sys.exit(minted.stderr)
    return f"Bearer {minted.stdout.strip()}"


def main():
    stack = start()
    try:
        environment = {**ENVIRONMENT, "NORVALT_AUTH": f"Authorization: {token('tesla-oslo')}"}
        curl = subprocess.run([sys.executable, HERE / "curl.py"], cwd=WORKSPACE, env=environment)
    finally:
        stack.send_signal(signal.SIGINT)
        stack.wait()
    sys.exit(curl.returncode)


main()
