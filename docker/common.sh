# What backup, restore and check share: sentences instead of traces, and compose by either name.
die() { echo "error $*" >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

need_engine() {
    command -v docker >/dev/null ||
        die "there is no Docker here; https://docs.docker.com/engine/install says how to get it"
    local said
    said=$(docker info 2>&1 >/dev/null) && return
    die "Docker's engine does not answer: ${said##*$'\n'}; start it, or join the group \`docker\`"
}

need_compose() {
    if docker compose version >/dev/null 2>&1; then
        composing=(docker compose)
    elif command -v docker-compose >/dev/null; then
        composing=(docker-compose) # 1.29, as Debian has it
    else
        die "there is no docker compose here; https://docs.docker.com/compose/install says how to get it"
    fi
    composing+=(-f "$here/compose.yaml")
}

compose() { "${composing[@]}" "$@"; }

runs() {
    local found
    found=$(compose ps -q "$1" 2>/dev/null)
    [ -n "$found" ] && [ "$(docker inspect -f '{{.State.Running}}' $found | sort -u)" = true ]
}
