"""What Schemathesis cannot know: objects that exist, the bytes of an upload's part, and that a poll may be short."""

import json
import os
import random

import schemathesis

KNOWN = json.loads(os.environ["FEDEDGE_KNOWN"])
dice = random.Random(7)


@schemathesis.serializer("application/partial-upload")
def write_part(context, value):
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Half of the requests go to objects that exist, so that they get past the look-up. No poll waits."""
    if case.path_parameters and dice.random() < 0.5:
        for name in case.path_parameters:
            if name in KNOWN:
                case.path_parameters[name] = KNOWN[name]
    if case.query and str(case.query.get("wait", "")).isdigit() and 0 < int(case.query["wait"]) <= 60:
        case.query["wait"] = "0"
