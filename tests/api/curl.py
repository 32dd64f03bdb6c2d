"""The lines of docs/API.md, run as they stand there against the running stack; `run.py` says where it is."""

import json
import os
import re
import subprocess
import sys
import uuid

URL = os.environ["NORVALT_URL"]
AUTH = os.environ["NORVALT_AUTH"]
PAGE = os.path.join(os.path.dirname(__file__), "../../docs/API.md")
DEALERSHIP = "019a0000-0000-7000-8000-000000000001"
# What the page has besides reads: the status that each line gets from the sample data.
STATUS = {
    "POST /api/v1/conversations": 201,
    "POST /api/v1/leads": 201,
    "POST /api/v1/leads/{id}/merge": 201,
    "DELETE /api/v1/leads/{id}": 204,
    "OPTIONS /webhooks/form/{dealership_id}": 204,
    "POST /webhooks/form/{dealership_id}": 202,
    "POST /webhooks/clerk": 401,  # Nobody has signed it.
}


def curl(*arguments):
    run = subprocess.run(["curl", "-sS", "-H", AUTH, *arguments], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    return json.loads(run.stdout)


def new(source):
    body = json.dumps({"source": source, "company": "Curl AS"})
    return curl("-H", "content-type: application/json", "-d", body, f"{URL}/api/v1/leads")["id"]


def merge():
    body = json.dumps({"lead_id": new("phone")})
    return curl("-H", "content-type: application/json", "-d", body, f"{URL}/api/v1/leads/{new('phone')}/merge")["id"]


def submission():
    """One that is taken for spam, so that a person may release or reject it."""
    curl("-d", f"email={uuid.uuid4()}@example.no", "-d", "_gotcha=x", f"{URL}/webhooks/form/{DEALERSHIP}")
    return curl(f"{URL}/api/v1/submissions?verdict=spam&limit=1")["items"][0]["id"]


def subject(route):
    """What the line's `$id` is about: something that may be changed."""
    if "/merges/" in route:
        return merge()
    return submission() if "/submissions/" in route else new("phone")


def main():
    page = open(PAGE, encoding="utf-8").read()
    failed = ran = 0
    for route, line in re.findall(r"^## (\S+ \S+)$.*?^```sh\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL):
        variables = {"url": URL, "auth": AUTH, "dealership_id": DEALERSHIP, "id": subject(route) if "{id}" in route else ""}
        if route.endswith("/merge"):
            line = re.sub(r'"lead_id":"[^"]+"', f'"lead_id":"{new("phone")}"', line)
        # The line as it is; what is added only turns the answer into its status.
        shell = 'curl() { command curl -o /dev/null -w "%{http_code}" "$@"; }\n' + line
        run = subprocess.run(["bash", "-c", shell], env={**os.environ, **variables}, capture_output=True, text=True)
        expected = STATUS.get(route, 200)
        ran += 1
        if run.stdout != str(expected):
            failed += 1
            print(f"{route}: {run.stdout} {run.stderr.strip()}, not {expected}\n  {line}", file=sys.stderr)
    print(f"{ran} lines of docs/API.md ran, {failed} failed")
    sys.exit(failed > 0 or ran < 20)


main()
