//! A configuration that is exchanged while servers run.

use parking_lot::Mutex;
use portcullis::Config;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A configuration that can be exchanged while servers run. Clones share it.
///
/// Connections that are accepted after [`set`](Self::set) have the new one. Those that are open keep the one that
/// they began with. The limits on all connections together (`max_connections`, `connections_memory`, `prefix_…`,
/// `handshakes_share`, `pressure_…`, `newcomer_timeout`) are those of the start: they belong to the gate.
///
/// ```
/// use portcullis::Config;
/// use portcullis_driver::LiveConfig;
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let live = LiveConfig::new(Arc::new(Config::default()));
/// let patient = Config::builder().keep_alive_timeout(Duration::from_secs(9)).build()?;
/// live.set(Arc::new(patient))?;
/// assert_eq!(live.get().keep_alive_timeout().as_secs(), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Certificates
///
/// New settings of TLS are a part of a new configuration. So certificates are renewed like this, without
/// disturbing open connections:
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
/// # mod renewing {
/// use portcullis::rustls::ServerConfig;
/// use portcullis::{Builder, Config};
/// use portcullis_driver::LiveConfig;
/// use std::error::Error;
/// use std::sync::Arc;
///
/// fn renew(live: &LiveConfig, tls: ServerConfig) -> Result<(), Box<dyn Error>> {
///     let builder = Builder::from(Config::clone(&live.get()));
///     live.set(Arc::new(builder.tls(Arc::new(tls)).build()?))?;
///     Ok(())
/// }
/// # }
/// ```
///
/// Sessions that began under the old settings are not resumed, unless the new ones have the same
/// `session_storage` or `ticketer`. Give them the same only if both demand the same of clients. If nothing but
/// the certificates changes, a `ResolvesServerCert` of your own that looks them up is enough.
#[derive(Clone, Debug)]
pub struct LiveConfig(Arc<Live>);

#[derive(Debug)]
struct Live {
    config: Mutex<Arc<Config>>,
    /// How often the configuration was exchanged. A look at it needs no lock.
    generation: AtomicUsize,
}

/// The new configuration speaks TLS and the old one doesn't, or the other way round. Clients expect one of the
/// two at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsDiffers;

impl fmt::Display for TlsDiffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS can't be switched on or off while a server runs")
    }
}

impl Error for TlsDiffers {}

impl From<Arc<Config>> for LiveConfig {
    fn from(config: Arc<Config>) -> Self {
        LiveConfig::new(config)
    }
}

impl From<Config> for LiveConfig {
    fn from(config: Config) -> Self {
        LiveConfig::new(Arc::new(config))
    }
}

impl LiveConfig {
    /// Begins with this configuration.
    pub fn new(config: Arc<Config>) -> Self {
        LiveConfig(Arc::new(Live { config: Mutex::new(config), generation: AtomicUsize::new(0) }))
    }

    /// The configuration of new connections.
    pub fn get(&self) -> Arc<Config> {
        self.0.config.lock().clone()
    }

    /// Gives new connections this configuration.
    ///
    /// # Errors
    /// [`TlsDiffers`]. The old configuration stays then.
    pub fn set(&self, config: Arc<Config>) -> Result<(), TlsDiffers> {
        let mut place = self.0.config.lock();
        if place.has_tls() != config.has_tls() {
            return Err(TlsDiffers);
        }
        *place = config;
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// A number that changes with each exchange.
    pub(crate) fn generation(&self) -> usize {
        self.0.generation.load(Ordering::Acquire)
    }
}
