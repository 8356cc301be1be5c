#!/usr/bin/env bash
# Every function as a process of its own under `cargo lambda watch`, with the samples of events/, against an AWS on this machine.
#
#   tests/cargo-lambda.sh            the functions as `cargo build --workspace` makes them, each with its own environment
#   tests/cargo-lambda.sh --build    `cargo lambda watch` builds and starts them; it shares no artifacts with `cargo test`
#   tests/cargo-lambda.sh --router   prints the HTTP routes of template.yaml for the workspace's Cargo.toml
#
# Needs Rust, a C compiler and python3 with venv and pip; what else it needs it puts under the target folder. Ends what it started.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
lambda="$target/tools/lambda"
packages=(cargo-lambda==1.9.2 ministack==1.5.33 boto3==1.43.106 PyYAML==6.0.4)

if [ ! -x "$lambda/bin/cargo-lambda" ] || [ ! -x "$lambda/bin/ministack" ]; then
    python3 -m venv "$lambda"
    "$lambda/bin/pip" install -q --disable-pip-version-check "${packages[@]}"
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

if [ "${1:-}" != "--router" ]; then
    echo "== build"
    # With the whole workspace's features, as `cargo test --workspace` builds them: what it has built is not built again.
    cargo build --workspace --bins
fi
echo "== try"
"$lambda/bin/python" tests/cargo_lambda.py "$@" --cargo-lambda "$lambda/bin/cargo-lambda" --ministack "$lambda/bin/ministack" \
    --binaries "$target/debug" --folder "$scratch"
