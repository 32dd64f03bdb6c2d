"""What Schemathesis is told beyond the document; `schemathesis.toml` names this file.

Nothing here lets a status pass that the document has not, or a 5xx.
"""

import base64
import hashlib
import hmac
import os
import re
import time
import uuid

import requests
import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

# What no schema can say, by operation: the fields or the codes for which a well-formed request may be refused all the
# same. Refused for anything else, it is a finding.
UNSAYABLE = {
    # It is at one of the origins that the dealership has allowed.
    "GET /api/v1/dealership/form-snippet": {"next"},
    # A browser writes a usual port and a number for a host otherwise. Not every deployment has a captcha.
    "PATCH /api/v1/dealership": {"form.origins[]", "form.redirect_origins[]", "form.captcha_required"},
    # A lead is lost if and only if it has a reason, and keeps one of its contacts.
    "PATCH /api/v1/leads/{id}": {"lost_reason", "email"},
    # The other lead is another one.
    "POST /api/v1/leads/{id}/merge": {"lead_id"},
    # What metadata has at any depth has no NUL, which PostgreSQL cannot keep.
    "POST /api/v1/conversations": {"malformed_json"},
    # Any bytes may be a CSV file, and few are.
    "POST /api/v1/leads/import": {
        "empty_file", "letters_lost", "too_many_columns", "unclosed_header", "unknown_columns", "unreadable_text",
    },
    # What it received names nobody.
    "POST /api/v1/submissions/{id}/release": {"email"},
    # A form's names and values have no NUL, and not too many objects are inside one another.
    "POST /webhooks/form/{dealership_id}": {"malformed_form"},
}

# A member of Tesla Oslo and a car of theirs.
SEEDED = {
    "assigned_to": "019a0000-0000-7000-8000-000000000014",
    "vehicle_id": "019a0000-0000-7000-8000-000000002001",
}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Puts what no schema can make into a request that is valid, or it would never get behind it."""
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    # Only a page gives a cursor, and only a preview a digest.
    for name in ["cursor", "commit"]:
        case.query.pop(name, None)
    # A key that was used is a repetition, and a made-up ETag is no lead's.
    if "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = str(uuid.uuid4())
    if "if-match" in case.headers:
        case.headers["if-match"] = "*"
    if isinstance(case.body, dict):
        case.body.update({name: value for name, value in SEEDED.items() if case.body.get(name)})
    if case.operation.label == "POST /webhooks/clerk":
        case.headers.update(signature(case))


def signature(case):
    """As Svix signs the body for Clerk."""
    request = requests.Request(**case.as_transport_kwargs(base_url="http://stack")).prepare()
    body = request.body if isinstance(request.body, bytes) else request.body.encode()
    key = base64.b64decode(os.environ["CLERK_WEBHOOK_SECRETS"].removeprefix("whsec_"))
    message, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    mac = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signed = base64.b64encode(mac).decode()
    return {"svix-id": message, "svix-timestamp": timestamp, "svix-signature": f"v1,{signed}"}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if not isinstance(failure, RejectedPositiveData):
        return True
    # A link from a field that is null: no caller would follow it.
    if "None" in case.formatted_path.split("/"):
        return False
    problem = response.json()
    fields = {re.sub(r"\[\d+\]", "[]", error["field"]) for error in problem.get("errors", [])}
    reasons = fields or {problem["code"]}
    return not reasons <= UNSAYABLE.get(case.operation.label, set())
