"""Judges what `darkroom demo --json` printed: the job succeeded, its file is there, and the ledger explains the balance."""

import json
import os
import sys


def main(model, path):
    with open(path, encoding="utf-8") as file:
        demo = json.load(file)
    generation, result, ledger = demo["generation"], demo["result"], demo["ledger"]
    assert generation["status"] == "succeeded", generation
    assert generation["charged"] == generation["cost"] > 0, generation
    assert os.path.getsize(result["path"]) == result["bytes"] == generation["results"][0]["bytes"], result
    assert [entry["kind"] for entry in ledger] == ["charge", "hold", "grant"], ledger
    newest = ledger[0]
    assert newest["held_after"] == 0, newest
    assert newest["balance_after"] == sum(entry["available_change"] for entry in ledger), ledger
    print(f"{model}: {result['content_type']}, {result['bytes']} bytes, {generation['charged']} credits, {demo['timings_ms']['total']} ms")


main(*sys.argv[1:])
