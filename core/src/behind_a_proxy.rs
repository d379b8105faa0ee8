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
//! `timeout tunnel`. `websocket_ping_interval` (20 s) is shorter, so an idle websocket stays open.
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
//! 6. `drain_timeout` is shorter than the time after which your orchestrator kills the process.
