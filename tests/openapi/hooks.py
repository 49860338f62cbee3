"""Lets what schemathesis makes up reach the demo's agent and customer.

A made-up agent has no numbers, so without this nothing that is valid would ever be
accepted. What is meant to be refused stays as it is.
"""

import itertools
import json
import os

import schemathesis
from schemathesis import GenerationMode

DEMO = json.loads(os.environ["DEMO"])
COUNT = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    made = case.meta and case.meta.generation.mode
    if made != GenerationMode.POSITIVE or case.method != "POST":
        return
    if not isinstance(case.body, dict) or "agent_id" not in case.body:
        return
    for field in ("agent_id", "from"):
        case.body[field] = DEMO[field]
    case.body["to"] = DEMO["open_to"]
    fit(case.body.get("template") or {})
    # A name that was used before is used for another request here.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}.{next(COUNT)}"


def fit(template):
    """What the document cannot say of a template: how its parts go together."""
    for place, button in enumerate(template.get("buttons") or []):
        button["index"] = place
    if template.get("header_parameters"):
        template.pop("header_media_url", None)
    for part, longest in (("parameters", 1024), ("header_parameters", 60)):
        values = template.get(part) or {}
        if values:
            template[part] = {f"p{place}": text[:longest] for place, text in enumerate(values.values())}
