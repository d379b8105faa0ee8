//! The limit of open files, and so of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. A low soft limit protects programs that use `select`;
/// this program does not.
pub(crate) fn allow_as_many_as_possible() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "cannot raise the limit of open files, so fewer connections are possible; raise it with `ulimit -n`");
    }
}
