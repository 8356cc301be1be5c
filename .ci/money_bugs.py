"""Deliberate bugs in what writes money into the table: each has to make a test fail.

`cargo mutants` tries the rules alone; conditions of transactions are texts, and only the table enforces them. Works on a copy of what is
committed, with a target folder of its own: in the same one, cargo would take the copy's artifacts for ours. Takes some minutes for the first
build, and about two for each. Bugs may be named: `python3 .ci/money_bugs.py twice`.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STORE = "shared/src/store"
TESTS = ["money_under_pressure", "callbacks::", "histories", "idempotency::", "crash::what", "admin_credits::"]
# What it is called, what it does, where, what stands there, and what stands there with the bug.
BUGS = [
    (
        "subtract", "an account is written over whatever somebody else wrote meanwhile: check, then subtract", "accounts.rs",
        "writes.push(Write::over_version(Role::Account, account, items::n(before.version)));",
        "writes.push(Write::always(Role::Account, account));",
    ),
    (
        "entry", "an entry is written over one of the same id: a charge or a release is booked again", "accounts.rs",
        "Ok(Write::new(Role::Entry, items::entry(entry)?)));",
        "Ok(Write::always(Role::Entry, items::entry(entry)?)));",
    ),
    (
        "stale", "a generation is written over whatever became of it meanwhile", "commit.rs",
        "vec![Write::over_version(Role::Generation, item, items::n(next.version - 1))]",
        "vec![Write::always(Role::Generation, item)]",
    ),
    (
        "twice", "both at once: a callback that comes twice charges twice, and a release follows a charge", "both",
        "", "",
    ),
    (
        "again", "a request that is repeated is a new one", "accounts.rs",
        "Ok(Write::new_or_expired(Role::Idempotency, item, items::n(now.as_second())))",
        "Ok({ let _ = now; Write::always(Role::Idempotency, item) })",
    ),
    (
        "old", "credits are refused for counters that may be old", "accounts.rs",
        "Err(_) if !fresh => continue,",
        "Err(_) if !fresh && false => continue,",
    ),
    (
        "apart", "a decision is written without what it means for the account", "commit.rs",
        "let Some(posting) = &decision.posting else {",
        "let Some(posting) = decision.posting.as_ref().filter(|_| false) else {",
    ),
    (
        "blind", "a transaction that was refused for an entry that is there is tried for ever, as if the account had changed", "accounts.rs",
        "others || (has(Role::Entry) && !has(Role::Account))",
        "others",
    ),
]


def edits(bug):
    """The file, the old and the new text of each edit."""
    name, _, file, old, new = bug
    if file == "both":
        return [edit for other in BUGS if other[0] in ("entry", "stale") for edit in edits(other)]
    return [(file, old, new)]


def failures(tree):
    """The tests that fail, or nothing."""
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "money-bugs"),
        "DARKROOM_TABLE_HISTORIES": "300",
    }
    command = ["cargo", "test", "-q", "--workspace", "--test", "promises", "--", *TESTS]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if "test result:" not in done.stdout:
        sys.exit(f"it does not build:\n{done.stderr[-3000:]}")
    return sorted(set(re.findall(r"^    (\w+(?:::\w+)+)$", done.stdout, re.MULTILINE)))


def main(names):
    unknown = set(names) - {bug[0] for bug in BUGS}
    if unknown:
        sys.exit(f"there is no bug called {', '.join(sorted(unknown))}")
    survived = []
    with tempfile.TemporaryDirectory() as scratch:
        tree = pathlib.Path(scratch) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree], cwd=ROOT, check=True)
        try:
            without = failures(tree)
            if without:
                sys.exit(f"without any bug these fail: {', '.join(without)}")
            for bug in BUGS:
                if names and bug[0] not in names:
                    continue
                started, before = time.monotonic(), {}
                for file, old, new in edits(bug):
                    path = tree / STORE / file
                    text = path.read_text()
                    if text.count(old) != 1:
                        sys.exit(f"`{bug[0]}`: this is not there once in {file}: {old}")
                    before.setdefault(path, text)
                    path.write_text(text.replace(old, new))
                found = failures(tree)
                for path, text in before.items():
                    path.write_text(text)
                told = f"caught by {len(found)}: {', '.join(found[:4])}" if found else "SURVIVED"
                print(f"{bug[0]}: {bug[1]}\n    {told} ({time.monotonic() - started:.0f} s)", flush=True)
                survived += [] if found else [bug[0]]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    if survived:
        sys.exit(f"not caught: {', '.join(survived)}")


main(sys.argv[1:])
