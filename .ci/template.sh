#!/usr/bin/env bash
# Every check of template.yaml and infra/: linters, a security scan, own checks, seeded mistakes, and the whole stack in an emulator. Needs python3
# with venv, and pip for the first run; no network after that, no credentials, no AWS.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="${CARGO_TARGET_DIR:-$PWD/target}/tools"
venvs="$tools/template"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$venvs"

# Only the name of the region is used. Compiled Python is kept beside the tools, not in .ci.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 PYTHONPYCACHEPREFIX="$venvs/compiled" PYTHONWARNINGS=ignore

# install <folder> <packages>: each tool by itself, since they disagree about versions of what they share.
install() {
    local venv="$venvs/$1"
    shift
    if [ "$(cat "$venv/packages" 2> /dev/null)" = "$*" ]; then return; fi
    rm -rf "$venv"
    "$venvs/uv/bin/uv" venv -q --python "$(command -v python3)" "$venv"
    UV_CACHE_DIR="$scratch/cache" "$venvs/uv/bin/uv" pip install -q --python "$venv/bin/python" "$@"
    echo "$*" > "$venv/packages"
}

if [ ! -x "$venvs/uv/bin/uv" ]; then
    python3 -m venv "$venvs/uv"
    "$venvs/uv/bin/pip" install -q --disable-pip-version-check --no-compile uv==0.13.9 || rm -rf "$venvs/uv"
fi
if ! { [ -x "$venvs/uv/bin/uv" ] &&
    install sam cfn-lint==1.51.0 aws-sam-translator==1.110.0 aws-sam-cli==1.161.1 &&
    install checkov checkov==3.3.30 &&
    install ministack ministack==1.5.33; }; then
    echo "SKIPPED: the template was not checked, pip cannot install its tools"
    exit 0
fi
echo "the tools are there after ${SECONDS} s"
python="$venvs/sam/bin/python"

mkdir "$scratch/deployed"
cp -r infra "$scratch/deployed/infra"
"$python" .ci/transformed.py template.yaml > "$scratch/deployed/template.json"

# Runs beside the rest; what it says is shown at its end.
beside() {
    local name="$1"
    shift
    "$@" > "$scratch/$name.log" 2>&1 &
    jobs_beside+=("$name:$!")
}
jobs_beside=()

beside sam "$venvs/sam/bin/sam" validate --lint
beside checkov "$venvs/checkov/bin/checkov" --config-file .ci/checkov.yaml -f infra/data.yaml infra/monitoring.yaml "$scratch/deployed/template.json"

"$python" .ci/template_checks.py
# Left out: parameters that the transform has put in their place, and paths that `sam package` replaces.
"$venvs/sam/bin/cfn-lint" --ignore-checks W2001 W3002 --template infra/data.yaml infra/monitoring.yaml "$scratch/deployed/template.json"
"$python" .ci/emulate.py "$venvs/ministack/bin/ministack" "$venvs/sam/bin/sam"

for job in "${jobs_beside[@]}"; do
    if ! wait "${job#*:}"; then
        cat "$scratch/${job%%:*}.log"
        echo "${job%%:*} is not content"
        exit 1
    fi
done

"$python" .ci/mistakes.py "$venvs/checkov/bin/checkov"
echo "the template was checked in ${SECONDS} s"
