#!/usr/bin/env bash
# Every function as a process of its own under `cargo lambda watch`, with the samples of events/, against an AWS on this machine.
#
#   tests/cargo-lambda.sh            the functions as `cargo build --workspace` makes them, each with its own environment
#   tests/cargo-lambda.sh --build    `cargo lambda watch` builds and starts them; it shares no artifacts with `cargo test`
#   tests/cargo-lambda.sh --router   prints the HTTP routes of template.yaml for the workspace's Cargo.toml
#
# Needs Rust, a C compiler and python3 (3.11 or newer) with venv and pip; what else it needs it puts under the target folder. Ends what it
# started.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/tools.sh

python_is_new_enough
if ! fetch_lambda; then
    echo "pip cannot install cargo-lambda and ministack" >&2
    exit 1
fi
if [ "${1:-}" != "--router" ]; then
    echo "== build"
    # With the whole workspace's features, as `cargo test --workspace` builds them: what it has built is not built again.
    cargo build --workspace --bins
fi
echo "== try"
# In the place of this shell: who ends it ends what it has started.
exec "$tools/lambda/bin/python" tests/cargo_lambda.py "$@" --cargo-lambda "$tools/lambda/bin/cargo-lambda" \
    --ministack "$tools/ministack/bin/ministack" --binaries "${CARGO_TARGET_DIR:-$PWD/target}/debug"
