# Commands that run beside the rest of a script; sourced. What they say is kept in $scratch until they are joined. Each has a process group
# of its own, so that its children end with it.
# shellcheck shell=bash

declare -A running_beside=()

# beside NAME COMMAND...
beside() {
    local name="$1"
    shift
    set -m
    "$@" > "$scratch/$name.log" 2>&1 < /dev/null &
    running_beside[$name]=$!
    set +m
}

# has_ended NAME
has_ended() { ! grep -qx "${running_beside[$1]}" <<< "$(jobs -rp)"; }

# joined NAME: waits for it and shows what it said. The status is its own.
joined() {
    local status=0
    wait "${running_beside[$1]}" || status=$?
    unset "running_beside[$1]"
    cat "$scratch/$1.log"
    return "$status"
}

# For the trap: ends those that nobody has joined, and waits until they are gone.
end_beside() {
    local pid
    for pid in "${running_beside[@]}"; do kill -- "-$pid" 2> /dev/null || true; done
    for pid in "${running_beside[@]}"; do
        for _ in $(seq 150); do kill -0 -- "-$pid" 2> /dev/null || break; sleep 0.1; done
        kill -9 -- "-$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
}
