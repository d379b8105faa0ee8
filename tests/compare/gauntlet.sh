#!/usr/bin/env bash
# Plays the seven cases of Hypercorn's page against portcullis, nginx, hyper and Hypercorn, each with its
# default settings, and prints a table. It needs nginx, openssl, and Hypercorn in a virtual environment:
#     python3 -m venv /tmp/venv && /tmp/venv/bin/pip install hypercorn
#     tests/compare/gauntlet.sh /tmp/venv/bin/hypercorn
set -euo pipefail
hypercorn=$1
here=$(cd "$(dirname "$0")" && pwd)
bin=${CARGO_TARGET_DIR:-$here/../../target}/release
patience=${PATIENCE:-70}
ulimit -n "$(ulimit -Hn)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [[ ! -x $bin/gauntlet || ! -x $bin/portcullis || ! -x $bin/reference ]]; then
    cargo build --release -p portcullis-serve -p portcullis-tests --bins
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
    -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null

# nginx serves a file of a gigabyte, and passes uploads on to a server that answers at once.
configure_nginx() {
    local folder=$1 port=$2
    mkdir -p "$folder/bytes"
    truncate -s 1000000000 "$folder/bytes/1000000000"
    cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes 2;
worker_rlimit_nofile 20000;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 20000; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server { listen unix:$folder/socket; return 200 "ok"; }
    server {
        listen 127.0.0.1:$port${3:-};
        ssl_certificate $scratch/cert.pem;
        ssl_certificate_key $scratch/key.pem;
        ssl_protocols TLSv1.3;
        root $folder;
        location = /hello { return 200 "Hello, world!"; }
        location = /sink { proxy_pass http://unix:$folder/socket; }
    }
}
CONF
}

# Starts a server at a port, with TLS or without, and replaces this shell by it.
serve() {
    local name=$1 port=$2 tls=$3 folder=$4
    case $name in
    portcullis) exec "$bin/portcullis" --listen "127.0.0.1:$port" ${tls:+--tls-self-signed} ;;
    hyper) exec "$bin/reference" hyper --threads 2 --listen "127.0.0.1:$port" ${tls:+--tls} ;;
    nginx)
        configure_nginx "$folder" "$port" "${tls:+ ssl}"
        exec nginx -c "$folder/nginx.conf" -e "$folder/error.log"
        ;;
    Hypercorn)
        cd "$here"
        exec "$hypercorn" app:app -b "127.0.0.1:$port" \
            ${tls:+--certfile "$scratch/cert.pem" --keyfile "$scratch/key.pem"}
        ;;
    esac
}

# Each case has a fresh server, so that memory begins anew.
play() {
    local name=$1 case=$2 port=$3 tls=${4:-} folder=$scratch/$1-$2
    mkdir -p "$folder"
    (serve "$name" "$port" "$tls" "$folder") >"$folder/log" 2>&1 &
    local server=$! tries=0
    until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || ((tries++ > 100)); do sleep 0.1; done
    "$bin/gauntlet" --target "127.0.0.1:$port" --patience "$patience" --only "$case" \
        ${tls:+--tls} --json "$scratch/$name.$case.json" >/dev/null 2>&1 || true
    kill "$server"
    wait "$server" 2>/dev/null || true
}

port=8400
for name in portcullis nginx hyper Hypercorn; do
    (
        for case in silent large-body slow-body response-unread response-slow ws-large; do
            if [[ $case == ws-large && ($name == nginx || $name == hyper) ]]; then continue; fi
            play "$name" "$case" "$port"
        done
        play "$name" tls-slow-handshake $((port + 1)) tls
    ) &
    port=$((port + 10))
done
wait
python3 "$here/table.py" "$scratch" "$patience"
