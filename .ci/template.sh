#!/usr/bin/env bash
# Every check of template.yaml and infra/: linters, a security scan, own checks, seeded mistakes, and the whole stack in an emulator. Needs python3
# (3.11 or newer) with venv, and pip for the first run; no network after that, no credentials, no AWS. The exit code is 3 when the tools cannot be
# had here.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/tools.sh

scratch="$(mktemp -d)"
source .ci/beside.sh
trap 'end_beside; rm -rf "$scratch"' EXIT

# Only the name of the region is used. Compiled Python is kept beside the tools, not in .ci.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 PYTHONPYCACHEPREFIX="$tools/compiled" PYTHONWARNINGS=ignore

unavailable() {
    echo "SKIPPED: the template was not checked, $1"
    exit 3
}
python_is_new_enough || unavailable "python3 is older than 3.11, or not there"
fetch_template || unavailable "pip cannot install its tools"
echo "the tools are there after ${SECONDS} s"
python="$tools/sam/bin/python"

mkdir "$scratch/deployed"
cp -r infra "$scratch/deployed/infra"
"$python" .ci/transformed.py template.yaml > "$scratch/deployed/template.json"

beside sam "$tools/sam/bin/sam" validate --lint
beside checkov "$tools/checkov/bin/checkov" --config-file .ci/checkov.yaml -f infra/data.yaml infra/monitoring.yaml "$scratch/deployed/template.json"

"$python" .ci/template_checks.py
# Left out: parameters that the transform has put in their place, and paths that `sam package` replaces.
"$tools/sam/bin/cfn-lint" --ignore-checks W2001 W3002 --template infra/data.yaml infra/monitoring.yaml "$scratch/deployed/template.json"
"$python" .ci/emulate.py "$tools/ministack/bin/ministack" "$tools/sam/bin/sam"

for name in sam checkov; do
    if ! joined "$name" > "$scratch/said"; then
        cat "$scratch/said"
        echo "$name is not content"
        exit 1
    fi
done

"$python" .ci/mistakes.py "$tools/checkov/bin/checkov"
echo "the template was checked in ${SECONDS} s"
