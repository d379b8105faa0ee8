//! What to set behind nginx, HAProxy or a cloud balancer, and why.
//!
//! There is nothing to call in this module; it is a chapter. The profile is
//! [`Config::proxied`](crate::Config::proxied), or `--profile proxied` of the program. The README of
//! the project has configurations of nginx and HAProxy that its tests run.
//!
//! # The peer is the proxy
//!
//! One connection of a proxy carries requests of many clients, one after the other. Our timeouts
//! and limits apply to all of them, and the peer's address is the proxy's. The address of a client
//! is in a field that the proxy sets, such as `X-Forwarded-For`. Only the application can know
//! which proxy to believe, so portcullis does not read that field. In most cases TLS ends at the
//! proxy; everything here holds with TLS as well.
//!
//! A proxy that passes connections on, instead of requests, can tell the client's address by the PROXY
//! protocol: see [below](#more-than-one-machine).
//!
//! # The keep-alive race
//!
//! A proxy keeps idle connections to us, and sends the next request on one of them. If we close
//! that connection at the same moment, the request crosses our FIN and is lost. The proxy cannot
//! know whether we have worked on the request. It may repeat a GET, but not a POST, so it answers
//! 502.
//!
//! So the proxy has to be the side that closes: **our `keep_alive_timeout` must be longer than the
//! proxy's idle timeout.** With the default of 5 s and a POST every 5.00 s, nginx answers 502 to
//! two of three.
//!
//! | proxy | keeps an idle connection to us for | `keep_alive_timeout` |
//! |---|---|---|
//! | nginx, `keepalive_timeout` in `upstream` | 60 s | 75 s, as the profile has it |
//! | HAProxy, `pool-purge-delay`, then half of the idle ones each time | 5 s and more | 75 s |
//! | AWS Application Load Balancer, idle timeout | 60 s | 75 s |
//! | Google Cloud external Application Load Balancer | 600 s, fixed | `keep_alive_timeout=620s` |
//!
//! Other ends of a connection avoid the race. After `requests_per_connection`, and in a drain, the
//! last answer says `Connection: close`, and the proxy sends nothing more. An idle connection that
//! drains waits for `drain_idle_timeout` first, since a request may be on its way.
//!
//! Clients that have no setting for it, such as a service that calls another one, can be told:
//! `keep_alive_hint=on` adds `Keep-Alive: timeout=N` to answers. N is a second less than the
//! connection is kept, so that a request sent at the last moment still arrives in time. Node.js and
//! Java obey it; nginx and HAProxy have settings instead.
//!
//! # Slow clients
//!
//! nginx reads a whole request before it passes it on, and a whole answer before it sends it
//! (`proxy_request_buffering`, `proxy_buffering`: both are on by default). Then nginx faces the
//! slow client and we face a fast peer, so the profile allows 10 s of silence instead of 30 s. If
//! you turn buffering off, for streaming uploads or server-sent events, we face the slow client.
//! Then set `request_body_silence=30s` and `response_silence=30s`, the defaults without a profile.
//! HAProxy never buffers more than 16 KiB, so the same holds there.
//!
//! # Refusals
//!
//! A request may be refused while its content is on the way: with 413, or with any answer that
//! comes early. If the proxy then meets a reset, it may answer 502 instead of passing our answer
//! on. So we go on reading for `linger_timeout` (30 s), as long as something arrives every
//! `linger_silence` (5 s), and then close. It is best if the proxy refuses first: set nginx's
//! `client_max_body_size` (1 MiB by default) no larger than `request_body_limit`.
//!
//! # Health checks
//!
//! A health check is an ordinary request, often `OPTIONS /` in HTTP/1.0 without `Host` (HAProxy's
//! default), or `GET /`. Answer it with a status below 400. The demo and the file server of the
//! program answer OPTIONS with 204. A check that only connects and sends nothing is an idle
//! connection.
//!
//! The program has two routes for it: `GET /healthz` answers 200 while the process serves, and `GET /readyz`
//! answers 503 once it is told to stop. The demo always has them, and files have them with `--health`. Let the
//! balancer ask `/readyz`, and whatever restarts a process that hangs ask `/healthz`.
//!
//! # More than one machine
//!
//! Put a balancer in front of several machines. It either reads requests (nginx and HAProxy with `mode http`, an
//! application load balancer), and all of the above holds. Or it passes connections on as they are (HAProxy with
//! `mode tcp`, nginx's `stream`, a network load balancer). Then TLS, HTTP/2 and websockets end here, each
//! connection is one client's, and the timeouts of the default profile fit better than those of `proxied`.
//!
//! Such a balancer tells the client's address in a header of the PROXY protocol, at the beginning of each
//! connection and before TLS. `--proxy-protocol 10.0.0.0/8` expects the header, version 1 or 2, from balancers in
//! that prefix (in Rust: `Server::trust_proxies`). Log, services and `PeerAddress` then have the client's address.
//!
//! - **List balancers only.** Every machine in a listed prefix can choose the address that it appears with. A peer
//!   outside of the list cannot: its header is a malformed request, which is answered with 400.
//! - A listed balancer has to send the header on every connection, also for its health checks. Otherwise the
//!   connection is closed (`proxy_header` in the counters). A header with `LOCAL` or `UNKNOWN`, as health checks
//!   have, keeps the balancer's own address.
//! - The header gets no time of its own. `keep_alive_timeout` or `tls_handshake_timeout` runs from accept on, and
//!   `request_head_timeout` from the first byte of the header to its last.
//! - A line of version 1 has at most 107 bytes, and a header of version 2 at most 4096. TLVs are skipped.
//!
//! HAProxy; `send-proxy` would be version 1:
//!
//! ```text
//! defaults
//!     mode tcp
//!     timeout connect 5s
//!     timeout client 1h
//!     timeout server 1h
//! frontend web
//!     bind :443
//!     default_backend app
//! backend app
//!     option httpchk GET /readyz
//!     default-server check check-ssl verify none inter 2s fall 2 send-proxy-v2
//!     server one 10.0.0.11:8443
//!     server two 10.0.0.12:8443
//! ```
//!
//! nginx sends version 1, in `stream` only. It has no active checks: it tries the next machine if a connection is
//! refused.
//!
//! ```text
//! stream {
//!     upstream app {
//!         server 10.0.0.11:8443;
//!         server 10.0.0.12:8443;
//!     }
//!     server {
//!         listen 443;
//!         proxy_pass app;
//!         proxy_protocol on;
//!     }
//! }
//! ```
//!
//! Envoy, in the cluster, together with a TCP proxy filter and a health check for the path `/readyz`:
//!
//! ```text
//! transport_socket:
//!   name: envoy.transport_sockets.upstream_proxy_protocol
//!   typed_config:
//!     "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
//!     config: { version: V2 }
//!     transport_socket:
//!       name: envoy.transport_sockets.raw_buffer
//! ```
//!
//! An AWS Network Load Balancer sends version 2 if the target group has `proxy_protocol_v2.enabled`, also for
//! health checks. List the addresses of its subnets. By default its header comes with the client's first bytes, so a
//! client that is silent is a connection without a header, for `keep_alive_timeout`. Google's proxy network load
//! balancers send version 1 (`--proxy-header=PROXY_V1`), and their health checks have to be told the same.
//!
//! **Drain delay.** After SIGTERM `/readyz` answers 503 at once, and `--drain-delay` is the time for which the
//! program goes on serving newcomers before it drains. Choose the interval of the checks, times the failures that the
//! balancer waits for, and a second more: `--drain-delay 5s` for the example above. Without the delay, clients that
//! the balancer still sends here are refused. Whatever stops the program has to wait for `--drain-delay` and
//! `drain_timeout`, and a second more with `--reuse-port`: `TimeoutStopSec=` of systemd,
//! `terminationGracePeriodSeconds` of Kubernetes.
//!
//! # More than one process
//!
//! With `--reuse-port` several processes of one user listen on the same port (`SO_REUSEPORT`). The system spreads
//! connections over them. One process uses all processors already, so the use of it is the upgrade: start the new
//! program, and stop the old one.
//!
//! Each process has a queue of connections that it has not accepted yet, and closing the port would lose them. On
//! Linux the program hands them over. After SIGTERM, if another process listens on the port, it lets no handshake
//! begin on its own socket, goes on accepting for a second, so that handshakes under way end, and then drains. No
//! privileges are needed. In a test with 1500 short connections and four restarts, 10 to 20 connections were reset
//! without the handover, and none with it.
//!
//! From an old process to a new one, no client is delayed. With three or more processes on the port, some clients
//! have their first packet dropped, and begin a second later: 25 of 20,000 in a test with two old and two new
//! processes. `sysctl net.ipv4.tcp_migrate_req=1` makes the kernel move queued connections by itself, also when a
//! process is killed. It is off by default, and needs Linux 5.14.
//!
//! With systemd, a template `portcullis@.service` has an instance for each version:
//!
//! ```text
//! [Service]
//! ExecStart=/usr/local/bin/portcullis --listen :8080 --reuse-port
//! TimeoutStopSec=45
//! Restart=on-failure
//! ```
//!
//! ```text
//! systemctl start portcullis@2
//! until journalctl -qu portcullis@2 | grep -q 'listening on'; do sleep 0.2; done
//! systemctl stop portcullis@1
//! ```
//!
//! A health check that goes through the shared port reaches any of the processes. So `/readyz` of one process can
//! only be asked where that process listens alone: give each a second `--listen`.
//!
//! # HTTP/2
//!
//! nginx speaks HTTP/1.1 to its upstreams. HAProxy and Envoy can speak HTTP/2 in plaintext (`proto h2`): the
//! preface chooses it, and `Upgrade: h2c` is ignored. All users then share one connection, so a proxy needs as
//! many `http2_concurrent_streams` as it sends requests at once, or several connections. The guard over useless
//! frames counts for the connection as a whole: one user who cancels all the time spends what the others earn.
//!
//! # Websockets and events
//!
//! A proxy closes a silent connection: nginx after `proxy_read_timeout` (60 s), HAProxy after
//! `timeout tunnel`. `websocket_ping_interval` (20 s) is shorter, so an idle websocket stays open. A tunnel
//! ([`accept_tunnel`](crate::Stream::accept_tunnel)) has no pings: its idle time is the shorter one of the proxy's and
//! `tunnel_idle_timeout` (1 h).
//! Server-sent events need a comment now and then, and `X-Accel-Buffering: no` in their answer for
//! nginx.
//!
//! # A checklist
//!
//! 1. `keep_alive_timeout` is longer than the proxy's idle timeout, with some seconds to spare.
//! 2. The proxy reuses connections at all: `keepalive` and HTTP/1.1 in nginx, `http-reuse` in HAProxy.
//! 3. The proxy's limit for content is no larger than `request_body_limit`.
//! 4. Only the proxy reaches the port: listen on a private address.
//! 5. `max_connections` is more than all proxies keep open together.
//! 6. `--drain-delay` and `drain_timeout` together are shorter than the time after which your orchestrator kills
//!    the process.
//! 7. The prefixes of `--proxy-protocol` have balancers in them, and nobody else.
