"""What Schemathesis cannot know: objects that exist, the bytes of an upload's part, that a poll may be short, and how long a head may be."""

import json
import os
import random
from urllib.parse import quote

import schemathesis

KNOWN = json.loads(os.environ["FEDEDGE_KNOWN"])
dice = random.Random(int(os.environ["FEDEDGE_SEED"]))


# Longer than this in a head, and a few of them are more than the 8 KiB that a head may have.
MOST_ENCODED = 2000
SHORT = 100


def shorten(values):
    """Too long a head is refused (431) before there is an operation: no operation's document tells of it."""
    if values and sum(len(quote(str(value), errors="replace")) for value in values.values()) > MOST_ENCODED:
        for name, value in values.items():
            values[name] = value[:SHORT] if isinstance(value, (str, list)) else value


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
    for values in (case.path_parameters, case.query, case.headers):
        shorten(values)
