//! Where a test runs: on each runtime, with TLS and without.
//!
//! A test is written once, as a function of a [`Place`]. `tests!` at the top of its file makes a
//! `#[test]` of it for each place, such as
//! `connections::smol::tls::silent_connections_are_closed_at_the_keep_alive_timeout`. So `cargo
//! test -p portcullis-tests smol::tls` runs one place.
//!
//! Tests run in every place if they depend on sockets, timers, tasks or buffers. Tests of decisions
//! that `core` makes from bytes alone, such as the grammar of heads, would be the same six times.
//! They are plain `#[test]`s in [`Place::USUAL`].

/// The program's runtime, by its command-line name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Tokio,
    Smol,
    AsyncStd,
}

/// The layer below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plaintext,
    Tls,
}

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) runtime: Runtime,
    pub(crate) transport: Transport,
}

impl Place {
    /// For tests that are the same in every place.
    pub(crate) const USUAL: Self =
        Place { runtime: Runtime::Tokio, transport: Transport::Plaintext };

    /// The same runtime without TLS.
    pub(crate) fn plaintext(self) -> Self {
        Place { transport: Transport::Plaintext, ..self }
    }

    /// The same runtime with TLS.
    pub(crate) fn tls(self) -> Self {
        Place { transport: Transport::Tls, ..self }
    }
}

impl Runtime {
    /// The value for `--runtime`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Tokio => "tokio",
            Runtime::Smol => "smol",
            Runtime::AsyncStd => "async-std",
        }
    }
}

/// Makes tests of functions that take a [`Place`]: those under `everywhere` on each runtime over
/// both transports, those under `tokio` over both on tokio only, the others on each runtime over one
/// transport.
macro_rules! tests {
    (tokio: $($name:ident),+;) => {
        $crate::place::tests! { @on tokio Tokio [$($name)+] [$($name)+] }
    };
    (
        $(everywhere: $($everywhere:ident),+;)?
        $(plaintext: $($plaintext:ident),+;)?
        $(tls: $($tls:ident),+;)?
    ) => {
        $crate::place::tests! {
            @on each runtime
            [$($($everywhere)+)? $($($plaintext)+)?]
            [$($($everywhere)+)? $($($tls)+)?]
        }
    };
    // The runtimes, one a line.
    (@on each runtime $plaintext:tt $tls:tt) => {
        $crate::place::tests! { @on tokio Tokio $plaintext $tls }
        $crate::place::tests! { @on smol Smol $plaintext $tls }
        $crate::place::tests! { @on async_std AsyncStd $plaintext $tls }
    };
    (@on $module:ident $runtime:ident [$($plaintext:ident)*] [$($tls:ident)*]) => {
        mod $module {
            mod plaintext {
                $crate::place::tests! { @over $runtime Plaintext $($plaintext)* }
            }
            mod tls {
                $crate::place::tests! { @over $runtime Tls $($tls)* }
            }
        }
    };
    (@over $runtime:ident $transport:ident $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                super::super::$name($crate::place::Place {
                    runtime: $crate::place::Runtime::$runtime,
                    transport: $crate::place::Transport::$transport,
                });
            }
        )*
    };
}
pub(crate) use tests;
