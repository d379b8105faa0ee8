//! What to set behind nginx, HAProxy or a cloud balancer, and why.
//!
//! There is nothing to call in this module; it is a chapter. The profile is
//! [`Config::proxied`](crate::Config::proxied), or `--profile proxied` of the program. The README of
//! the project has configurations of nginx and HAProxy that its tests run.
//!
//! # The peer is the proxy
//!
//! One connection of a proxy carries requests of many clients, one after the other. A timeout or a
//! limit of ours meets all of them, and the peer's address is the proxy's. The address of a client is
//! in a field that the proxy sets, such as `X-Forwarded-For`. Only the application can know which
//! proxy to believe, so nothing here reads that field. TLS ends at the proxy in most cases; whatever is
//! said here holds with TLS as well.
//!
//! # The keep-alive race
//!
//! A proxy keeps idle connections to us, and sends the next request on one of them. If we close that
//! connection in the same moment, the request meets our FIN on its way, and is lost. The proxy cannot
//! know whether we have worked on it. It may repeat a GET, but not a POST, and answers 502.
//!
//! So the proxy has to be the one that closes: **our `keep_alive_timeout` must be longer than the
//! proxy's idle timeout.** With the default of 5 s and a POST every 5.00 s, nginx answers 502 to two
//! of three.
//!
//! | proxy | keeps an idle connection to us for | `keep_alive_timeout` |
//! |---|---|---|
//! | nginx, `keepalive_timeout` in `upstream` | 60 s | 75 s, as the profile has it |
//! | HAProxy, `pool-purge-delay`, then half of the idle ones each time | 5 s and more | 75 s |
//! | AWS Application Load Balancer, idle timeout | 60 s | 75 s |
//! | Google Cloud external Application Load Balancer | 600 s, fixed | `keep_alive_timeout=620s` |
//!
//! A connection that ends for another reason ends without the race: after `requests_per_connection`,
//! and in a drain, the last answer says `Connection: close`, and the proxy sends nothing more. An idle
//! connection that drains waits for `drain_idle_timeout` first, since a request may be on its way.
//!
//! Clients without a setting of their own, such as a service that calls another one, can be told:
//! `keep_alive_hint=on` adds `Keep-Alive: timeout=N` to answers. N is a second less than the
//! connection lives, so that a request sent in the last moment still arrives in time. Node.js and Java
//! obey it; nginx and HAProxy have settings instead.
//!
//! # Slow clients
//!
//! nginx reads a request's content before it passes it on, and an answer before it sends it
//! (`proxy_request_buffering`, `proxy_buffering`: both are on by default). Then a slow client meets
//! nginx, we meet a fast peer, and the profile allows it 10 s of silence instead of 30 s. If you turn
//! them off, for uploads that should stream or for server-sent events, the slow client is ours: set
//! `request_body_silence=30s` and `response_silence=30s` again, as by default. HAProxy never buffers
//! more than 16 KiB, so the same holds there.
//!
//! # Refusals
//!
//! A request may be refused while its content is on the way: 413, or any answer that comes early. A
//! proxy that meets a reset then may answer 502 instead of passing our answer on. So we go on reading
//! for `linger_timeout` (30 s), as long as something arrives every `linger_silence` (5 s), and close
//! then. It is best if the proxy refuses first: let nginx's `client_max_body_size` (1 MiB by default)
//! be no larger than `request_body_limit`.
//!
//! # Health checks
//!
//! A check is a request like any other, often `OPTIONS /` in HTTP/1.0 without `Host` (HAProxy's
//! default), or `GET /`. Answer it below 400. The demo and the file server of the program answer
//! OPTIONS with 204. A check that only connects, and sends nothing, is a connection that idles.
//!
//! # Websockets and events
//!
//! A proxy gives up on a connection in silence: nginx after `proxy_read_timeout` (60 s), HAProxy after
//! `timeout tunnel`. `websocket_ping_interval` (20 s) is shorter, so an idle websocket stays. Server-sent
//! events need a comment now and then, and `X-Accel-Buffering: no` in their answer for nginx.
//!
//! # A checklist
//!
//! 1. `keep_alive_timeout` is longer than the proxy's idle timeout, with some seconds to spare.
//! 2. The proxy reuses connections at all: `keepalive` and HTTP/1.1 in nginx, `http-reuse` in HAProxy.
//! 3. The proxy's limit of content is no larger than `request_body_limit`.
//! 4. Nothing but the proxy reaches the port: listen on a private address.
//! 5. `max_connections` is more than all proxies keep together.
//! 6. `drain_timeout` is shorter than the time that your orchestrator waits before it kills.
