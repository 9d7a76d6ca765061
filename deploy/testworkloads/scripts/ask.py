"""What the vendors' SDKs are told, unmodified and configured by the environment alone, as JSON: {call: answer}.

Arguments: modules of asks, or MODULE:CALL for one call. With --each-line first it asks once for each line of standard input, by
the same clients all the time; the line names the calls, between blanks, or nothing: all of them.
"""

import importlib
import json
import sys


def tried(call):
    try:
        return call()
    except Exception as err:
        return f"{type(err).__name__}: {err}"


names = sys.argv[1:]
each_line = names[0] == "--each-line"
calls = {}
for name in names[each_line:]:
    module, _, call = name.partition(":")
    known = importlib.import_module(f"asks.{module}").CALLS
    calls |= {call: known[call]} if call else known
for line in sys.stdin if each_line else [""]:
    print(json.dumps({name: tried(calls[name]) for name in line.split() or calls}), flush=True)
