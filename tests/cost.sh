#!/usr/bin/env bash
# The cost of a request and of an idle connection, compared with other servers. Unlike requests per
# second, these figures don't depend on what else the machine is doing.
#
#   tests/cost.sh [instructions] [http2] [messages] [memory]   prints these tables, by default all
#   tests/cost.sh profile SERVER [LOAD…]   where the instructions of a request for /hello go, or of another
#                                          load such as `messages --size 64` or `streams -m 32`
#
# instructions: user-space instructions for one small keep-alive request in the whole server,
#   counted by callgrind as the difference between a long and a short run over 8 connections.
# http2: the same for a small request over HTTP/2, one at a time or 32 streams at the same time on each of
#   the 8 connections. The load is h2load of nghttp2.
# messages: the same for one websocket message of 64 bytes, and of 16 KiB, that is sent back.
# memory: resident bytes that each of 5,000 idle connections adds after one request, with HTTP/1.1 and with
#   HTTP/2, and each of 5,000 idle websockets after one message was sent back.
#
# SERVER is bare, hyper, hyper-h2, axum, fastwebsockets, tungstenite or portcullis (`reference` servers on
# one thread), program (`portcullis` with its default threads) or program-1 (with one thread). hyper-tls,
# hyper-h2-tls, portcullis-tls and program-tls are the same over TLS 1.3, without the cost of the handshake.
#
# Builds the servers and installs nothing. Uses loopback only. Ends the servers that it started, by
# their process ids.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly SHORT=1000 LONG=11000 CONNECTIONS=8 # requests of a short and a long run, and their connections
readonly IDLE=5000                           # idle connections
readonly START_LIMIT=30 STOP_LIMIT=15        # seconds for a server to start and to stop
readonly SETTINGS=(--set keep_alive_timeout=60s --set requests_per_connection=1000000000)

bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
server= # process id of the running server
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

say() { printf '%s\n' "$*" >&2; }
fail() { say "cost.sh: $*"; exit 1; }
is_there() { command -v "$1" >/dev/null; }

# command_of SERVER: sets `command` to the server's command line.
command_of() {
    case $1 in
        hyper-tls | hyper-h2-tls | portcullis-tls) command=("$bin/reference" "${1%-tls}" --tls) ;;
        program-tls) command=("$bin/portcullis" --listen 127.0.0.1:0 --tls-self-signed "${SETTINGS[@]}") ;;
        bare | hyper | hyper-h2 | axum | fastwebsockets | tungstenite | portcullis) command=("$bin/reference" "$1") ;;
        program) command=("$bin/portcullis" --listen 127.0.0.1:0 "${SETTINGS[@]}") ;;
        program-1) command=("$bin/portcullis" --listen 127.0.0.1:0 --threads 1 "${SETTINGS[@]}") ;;
        *) fail "there is no server $1; see the head of this script" ;;
    esac
}

# start_server SERVER [WRAPPER…]: starts it under the wrapper. Sets `server`, `address`, and `load`
# (the load program for it).
start_server() {
    local name=$1 log=$work/$1.log
    shift
    command_of "$name"
    load_for "$name"
    : >"$log" # drop the address of an earlier run
    "$@" "${command[@]}" >"$log" 2>"$log.err" &
    server=$!
    local end=$((SECONDS + START_LIMIT))
    until address=$(sed -n 's#^listening on https\{0,1\}://##p' "$log") && [[ $address ]]; do
        kill -0 "$server" 2>/dev/null || fail "$name ended before it listened: $(tail -n 3 "$log.err")"
        ((SECONDS < end)) || fail "$name printed no address within $START_LIMIT s"
        sleep 0.05
    done
}

# load_for SERVER: sets `load` to the load program with the server's transport.
load_for() {
    load=("$bin/load")
    if [[ $1 == *-tls ]]; then load+=(--tls); fi
}

# Stops the server and waits: first with SIGTERM, then with SIGKILL.
stop_server() {
    [[ $server ]] || return 0
    local pid=$server end=$((SECONDS + STOP_LIMIT))
    server=
    kill -TERM "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS >= end)); then
            say "cost.sh: process $pid did not stop within $STOP_LIMIT s and is killed"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || true
}

# count SERVER NUMBER requests|messages|streams [LOAD OPTION…]: sets `total` to the instructions of the
# whole run. Leaves callgrind's output in $work/callgrind.out. streams are requests over HTTP/2, with
# options of h2load.
count() {
    local name=$1 number=$2 what=$3 out=$work/callgrind.out
    shift 3
    rm -f "$out"
    start_server "$name" valgrind --tool=callgrind --callgrind-out-file="$out"
    if [[ $what == streams ]]; then
        streams "$name" "$number" "$@"
    else
        "${load[@]}" "$what" "$address" --count "$number" --connections "$CONNECTIONS" "$@" >"$work/load.log"
    fi
    stop_server
    total=$(sed -n 's/^totals: //p' "$out")
    [[ $total ]] || fail "callgrind wrote no total for $name"
}

# streams SERVER NUMBER [H2LOAD OPTION…]: sends so many requests over HTTP/2.
streams() {
    local scheme=http number=$2
    if [[ $1 == *-tls ]]; then scheme=https; fi
    shift 2
    h2load --requests "$number" --clients "$CONNECTIONS" --connection-inactivity-timeout 60 "$@" \
        "$scheme://$address/hello" >"$work/load.log"
    grep -e "^status codes: $number 2xx," "$work/load.log" >/dev/null \
        || fail "not all of $number requests got an answer: $(grep -e '^requests:' "$work/load.log")"
}

# per_one SERVER requests|messages|streams [LOAD OPTION…]: sets `each`.
per_one() {
    local name=$1 short
    shift
    count "$name" "$SHORT" "$@"
    short=$total
    count "$name" "$LONG" "$@"
    each=$(((total - short) / (LONG - SHORT)))
}

instructions() {
    is_there valgrind || fail "valgrind is missing (Debian: apt-get install valgrind)"
    echo
    echo "user-space instructions per keep-alive request, $CONNECTIONS connections"
    printf '%-18s %12s %12s\n' server "Host only" "10 fields"
    local name small
    for name in "${servers[@]}"; do
        per_one "$name" requests
        small=$each
        per_one "$name" requests --browser
        printf '%-18s %12d %12d\n' "$name" "$small" "$each"
    done
}

http2() {
    is_there valgrind || fail "valgrind is missing (Debian: apt-get install valgrind)"
    if ! is_there h2load; then
        say "h2load is missing, so HTTP/2 is left out (Debian: apt-get install nghttp2-client)"
        return
    fi
    echo
    echo "user-space instructions per request over HTTP/2, $CONNECTIONS connections"
    printf '%-18s %12s %12s\n' server "1 stream" "32 streams"
    local name single
    for name in "${http2_servers[@]}"; do
        per_one "$name" streams
        single=$each
        per_one "$name" streams --max-concurrent-streams 32
        printf '%-18s %12d %12d\n' "$name" "$single" "$each"
    done
}

messages() {
    is_there valgrind || fail "valgrind is missing (Debian: apt-get install valgrind)"
    echo
    echo "user-space instructions per message that a websocket sends back, $CONNECTIONS connections"
    printf '%-18s %12s %12s\n' server "64 B" "16 KiB"
    local name small
    for name in "${websockets[@]}"; do
        per_one "$name" messages --size 64
        small=$each
        per_one "$name" messages --size 16384
        printf '%-18s %12d %12d\n' "$name" "$small" "$each"
    done
}

memory() {
    ulimit -n "$(ulimit -Hn)"
    (($(ulimit -n) >= IDLE + 100)) || fail "$IDLE connections need more than $(ulimit -n) open files; raise the hard limit"
    echo
    echo "resident bytes for each of $IDLE idle connections"
    printf '%-18s %12s %12s\n' server "in turn" "at once"
    local name
    for name in "${servers[@]}"; do hold_server "$name"; done
    for name in "${http2_servers[@]}"; do hold_server "$name" --http2; done
    for name in "${websockets[@]}"; do hold_server "$name" --websocket; done
    if ! is_there nginx; then
        say "nginx is missing and is left out (Debian: apt-get install nginx-light)"
        return
    fi
    hold_nginx nginx
    hold_nginx nginx --http2
    if certify; then
        hold_nginx nginx-tls
        hold_nginx nginx-tls --http2
    else
        say "openssl is missing, so nginx over TLS is left out (Debian: apt-get install openssl)"
    fi
}

# hold_server SERVER [--http2|--websocket]: prints the server's row.
hold_server() {
    local name=$1
    shift
    printf '%-18s' "$name$(kind_of "$@")"
    start_server "$name"
    hold "$@"
    start_server "$name"
    hold --at-once "$@"
    echo
}

# hold_nginx NAME [--http2]: prints nginx's row.
hold_nginx() {
    local name=$1
    shift
    printf '%-18s' "$name$(kind_of "$@")"
    start_nginx "$name" "$@"
    hold "$@"
    start_nginx "$name" "$@"
    hold --at-once "$@"
    echo
}

# kind_of [--http2|--websocket]: prints how the table names this kind of connection.
kind_of() {
    case ${1-} in
        --http2) printf ', h2' ;;
        --websocket) printf ', ws' ;;
    esac
}

# hold [LOAD OPTION…]: prints the memory that each idle connection adds to the server, and stops it.
hold() {
    local each # on its own line: `local` would hide a failure of the command
    each=$("${load[@]}" idle "$address" --pid "$server" --connections "$IDLE" "$@")
    printf ' %12s' "$each"
    stop_server
}

# Makes a certificate for nginx, of the same kind as the other servers' own.
certify() {
    is_there openssl && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=localhost -keyout "$work/key.pem" -out "$work/certificate.pem" 2>"$work/openssl.log"
}

# start_nginx NAME [--http2]: starts one nginx process without the machine's configuration. nginx cannot
# report a port that it picked, so it is given one. If that port is taken, another is tried.
start_nginx() {
    local attempt port tls='' options=''
    load_for "$1"
    if [[ $1 == *-tls ]]; then
        tls="ssl_certificate $work/certificate.pem; ssl_certificate_key $work/key.pem;
        ssl_protocols TLSv1.3;"
        options=' ssl'
    fi
    # In plaintext, nginx speaks either HTTP/1 or HTTP/2 on a port.
    if [[ ${2-} == --http2 ]]; then options+=' http2'; fi
    for attempt in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 10000))
        cat >"$work/nginx.conf" <<CONF
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections $((IDLE * 2)); }
http {
    access_log off;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    keepalive_timeout 60s;
    keepalive_requests 1000000000;
    server {
        listen 127.0.0.1:$port$options;
        $tls
        default_type text/plain;
        location = /hello { return 200 "Hello, world!"; }
    }
}
CONF
        nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" &
        server=$!
        address=127.0.0.1:$port
        local end=$((SECONDS + START_LIMIT))
        while kill -0 "$server" 2>/dev/null && ((SECONDS < end)); do
            # Connecting would add to its memory; the pid file appears once it listens.
            [[ -s $work/nginx.pid ]] && return
            sleep 0.05
        done
        say "cost.sh: nginx did not start on port $port (attempt $attempt of 5)"
        stop_server
    done
    fail "nginx did not start on any of five ports: $(tail -n 3 "$work/nginx.log")"
}

# profile SERVER [LOAD…]: prints, per request, the instructions of each function and of each call.
profile() {
    is_there valgrind || fail "valgrind is missing (Debian: apt-get install valgrind)"
    local name=$1
    shift
    (($#)) || set -- requests
    count "$name" "$LONG" "$@"
    callgrind_annotate --auto=no --threshold=100 --tree=calling "$work/callgrind.out" | plain >"$work/tree"
    echo "$name: $((total / LONG)) instructions for each of $LONG $1, startup included"
    echo
    echo "instructions of each function, with the functions inlined into it"
    awk -F '\t' '$2 == "*" { self[$4] += $1 } END { for (name in self) print self[name] "\t" name }' "$work/tree" \
        | sort -rn | awk -F '\t' -v requests="$LONG" 'NR <= 40 { printf "%7d  %s\n", $1 / requests, $2 }'
    echo
    echo "instructions of each call with everything below it, and the number of calls"
    awk -F '\t' '
        $2 == "*" { caller = $4 }
        $2 == ">" && caller != $4 { edge = caller "\t" $4; sum[edge] += $1; calls[edge] += $3 }
        END { for (edge in sum) print sum[edge] "\t" calls[edge] "\t" edge }
    ' "$work/tree" | sort -rn | awk -F '\t' -v requests="$LONG" '
        $2 >= requests / 10 && ++shown <= 60 {
            printf "%7d %6.2fx  %-60s > %s\n", $1 / requests, $2 / requests, tail($3, 60), tail($4, 70)
        }
        # The end of a name identifies it best.
        function tail(name, width) { return length(name) > width ? substr(name, length(name) - width + 1) : name }
    '
}

# Turns the lines of callgrind_annotate into tab-separated ones. The columns are: instructions; `*`
# for a function or `>` for a call from it; number of calls; the function without source and object
# file.
plain() {
    awk '
        $1 ~ /^[0-9,]+$/ && match($0, / [*>]  +/) {
            kind = substr($0, RSTART + 1, 1)
            name = substr($0, RSTART + RLENGTH)
            sub(/ \[[^]]*\]$/, "", name)
            calls = 0
            if (match(name, / \([0-9,]+x\)$/)) {
                calls = number(substr(name, RSTART + 2, RLENGTH - 4))
                name = substr(name, 1, RSTART - 1)
            }
            sub(/^[^ :]*:/, "", name)
            print number($1) "\t" kind "\t" calls "\t" name
        }
        function number(text) { gsub(",", "", text); return text }
    '
}

is_there cargo || fail "cargo is missing"
say "building…"
cargo build --quiet --release -p portcullis-tests --bins
servers=(bare hyper axum portcullis hyper-tls portcullis-tls)
http2_servers=(hyper-h2 portcullis hyper-h2-tls portcullis-tls)
websockets=(fastwebsockets tungstenite portcullis)
if cargo build --quiet --release -p portcullis-serve --bin portcullis; then
    servers+=(program program-1)
    http2_servers+=(program-1)
    websockets+=(program)
    if "$bin/portcullis" --help | grep -e --tls-self-signed >/dev/null; then
        servers+=(program-tls)
    else
        say "the program has no TLS, so program-tls is left out"
    fi
else
    say "the program does not build and is left out; see the errors above"
fi

case ${1-} in
    profile) shift && profile "${@:-portcullis}" ;;
    "")
        instructions
        http2
        messages
        memory
        ;;
    *) for what in "$@"; do
        case $what in
            instructions | http2 | messages | memory) "$what" ;;
            *) fail "there is no table '$what'; see the head of this script" ;;
        esac
    done ;;
esac
