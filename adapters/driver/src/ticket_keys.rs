//! Session tickets (RFC 8446 4.6.1, RFC 5077) that several processes can read, because they have the same keys.
//!
//! In: secrets. Out: a ticketer for rustls. The cryptography is that of rustls's provider: HKDF-SHA256 makes a
//! key and its name of each secret, and AES-256-GCM seals the tickets.
//!
//! | a ticket | bytes |
//! |---|---|
//! | the name of its key | 16 |
//! | a random nonce | 12 |
//! | sealed: when it was made, in seconds since 1970, and the session | 8 and more |
//! | the tag | 16 |

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::{aead, error::Unspecified, hkdf, rand};
use parking_lot::RwLock;
use portcullis::rustls::server::ProducesTickets;
use rand::SecureRandom;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::{aead, error::Unspecified, hkdf, rand};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a ticket can be used, in seconds: as long as those of rustls's own ticketer.
const LIFETIME: u32 = 12 * 60 * 60;
/// The fewest bytes of a secret: as many as the key has that is made of it.
const SECRET: usize = 32;
/// Bytes of a key's name.
const NAME: usize = 16;
/// Bytes of the time in a ticket.
const TIME: usize = 8;
/// Tells our keys from others that are made of the same secret.
const SALT: &[u8] = b"portcullis session tickets 1";

/// Keys for session tickets, which several processes can share: a client that comes back to any of them resumes
/// its session. Clones share the keys.
///
/// They are a `ticketer` for rustls. The first secret seals new tickets, and the others only open those that clients
/// still have. To change the secret, put a new one in front of the old one, everywhere, and leave the old one away
/// after 12 hours. A ticket can be used for 12 hours.
///
/// - **Secrets are as precious as private keys.** Whoever has one can read recorded connections of TLS 1.2 that
///   its tickets belong to, and take over sessions of TLS 1.3, also those of clients with certificates. So
///   secrets have to be random, and to be changed every day. One secret is good for 2^32 tickets.
/// - A resumed session has the client's certificates of its first handshake, which are not verified again.
///
/// ```
/// use portcullis_driver::TicketKeys;
/// use portcullis_driver::TicketKeysError;
///
/// # fn read(_: &str) -> [u8; 80] { [7; 80] }
/// let keys = TicketKeys::new([read("tickets.key")], b"clients without certificates")?;
/// // For a `ServerConfig`: config.ticketer = std::sync::Arc::new(keys.clone());
///
/// // Each day, the key of yesterday behind the new one:
/// keys.set([read("tickets.key"), read("tickets.old.key")])?;
/// # Ok::<(), TicketKeysError>(())
/// ```
#[derive(Clone)]
pub struct TicketKeys {
    keys: Arc<RwLock<Arc<[Key]>>>,
    audience: Arc<[u8]>,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketKeysError {
    /// No secret was given.
    NoSecret,
    /// A secret has fewer than 32 bytes.
    TooShort {
        /// Which of the secrets, counted from 0.
        place: usize,
        /// The number of its bytes.
        bytes: usize,
    },
    /// The provider of cryptography failed.
    Failed,
}

impl TicketKeys {
    /// Makes keys of these secrets, each of at least 32 random bytes.
    ///
    /// `audience` says who the sessions are for. Keys of another audience do not open their tickets, although
    /// the secret is the same. Settings that demand different things of clients need different audiences. For
    /// example, use the certificates of the authorities that sign those of the clients: a client without
    /// a certificate can't resume its session where one is needed then.
    ///
    /// # Errors
    /// [`TicketKeysError`].
    pub fn new<S: AsRef<[u8]>>(
        secrets: impl IntoIterator<Item = S>,
        audience: &[u8],
    ) -> Result<Self, TicketKeysError> {
        let keys = Arc::new(RwLock::new(make(secrets, audience)?));
        Ok(TicketKeys { keys, audience: audience.into() })
    }

    /// Goes on with other secrets. Sessions of secrets that are left out can't be resumed any more.
    ///
    /// # Errors
    /// [`TicketKeysError`]. The keys stay as they were then.
    pub fn set<S: AsRef<[u8]>>(
        &self,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<(), TicketKeysError> {
        let keys = make(secrets, &self.audience)?;
        *self.keys.write() = keys;
        Ok(())
    }

    fn seal(&self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let keys = self.keys.read().clone();
        keys.first()?.seal(session, now).ok()
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_at_checked(NAME)?;
        let keys = self.keys.read().clone();
        // The name is no secret: each ticket shows it.
        keys.iter().find(|key| key.name == name)?.open(sealed, now)
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.seal(session, now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, now())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.keys.read().len()).finish_non_exhaustive()
    }
}

impl fmt::Display for TicketKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketKeysError::NoSecret => f.write_str("there is no secret for session tickets"),
            TicketKeysError::TooShort { bytes, .. } => write!(
                f,
                "a secret for session tickets has {bytes} bytes, and needs at least {SECRET} random ones"
            ),
            TicketKeysError::Failed => {
                f.write_str("the provider of cryptography cannot make a key for session tickets")
            }
        }
    }
}

impl Error for TicketKeysError {}

/// A key, and the name by which its tickets are told from others.
struct Key {
    name: [u8; NAME],
    key: aead::LessSafeKey,
}

/// The length of a name, for HKDF.
struct NameLength;

impl hkdf::KeyType for NameLength {
    fn len(&self) -> usize {
        NAME
    }
}

impl Key {
    fn new(secret: &[u8], audience: &[u8]) -> Result<Self, Unspecified> {
        let all = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let mut name = [0; NAME];
        all.expand(&[b"name", audience], NameLength)?.fill(&mut name)?;
        let key = aead::UnboundKey::from(all.expand(&[b"key", audience], &aead::AES_256_GCM)?);
        Ok(Key { name, key: aead::LessSafeKey::new(key) })
    }

    fn seal(&self, session: &[u8], now: u64) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; aead::NONCE_LEN];
        rand::SystemRandom::new().fill(&mut nonce)?;
        let mut sealed = [&now.to_be_bytes(), session].concat();
        self.key.seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(self.name),
            &mut sealed,
        )?;
        Ok([&self.name[..], &nonce, &sealed].concat())
    }

    /// Opens what follows the name in a ticket.
    fn open(&self, sealed: &[u8], now: u64) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<{ aead::NONCE_LEN }>()?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, aead::Aad::from(self.name), &mut sealed).ok()?;
        let (made, session) = plain.split_first_chunk::<TIME>()?;
        // The clock of another machine may be ahead of ours.
        let age = now.saturating_sub(u64::from_be_bytes(*made));
        (age <= LIFETIME.into()).then(|| session.to_vec())
    }
}

fn make<S: AsRef<[u8]>>(
    secrets: impl IntoIterator<Item = S>,
    audience: &[u8],
) -> Result<Arc<[Key]>, TicketKeysError> {
    let make = |(place, secret): (usize, S)| {
        let secret = secret.as_ref();
        if secret.len() < SECRET {
            return Err(TicketKeysError::TooShort { place, bytes: secret.len() });
        }
        Key::new(secret, audience).map_err(|_| TicketKeysError::Failed)
    };
    let keys: Vec<_> = secrets.into_iter().enumerate().map(make).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(TicketKeysError::NoSecret) } else { Ok(keys.into()) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; 48] = [1; 48];
    const NEW: [u8; 80] = [2; 80];
    const NOON: u64 = 1_800_000_000;

    fn keys(secrets: &[&[u8]]) -> TicketKeys {
        TicketKeys::new(secrets, b"").expect("long enough")
    }

    #[test]
    fn keys_of_the_same_secret_open_each_others_tickets() {
        let (one, other) = (keys(&[&OLD]), keys(&[&OLD]));
        let ticket = one.encrypt(b"a session").expect("sealed");
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_ne!(one.encrypt(b"a session").expect("sealed"), ticket, "nonces are random");
        assert!(!ticket.windows(9).any(|nine| nine == b"a session"));
        assert_eq!(ticket.len(), 9 + 16 + 12 + 8 + 16);
        assert_eq!(keys(&[&NEW]).decrypt(&ticket), None);
        assert_eq!(other.encrypt(b"").and_then(|empty| one.decrypt(&empty)), Some(Vec::new()));
    }

    #[test]
    fn the_first_secret_seals_and_the_others_open() {
        let before = keys(&[&OLD]);
        let old = before.encrypt(b"old").expect("sealed");
        let shared = before.clone();
        before.set([&NEW[..], &OLD]).expect("long enough");
        assert_eq!(shared.decrypt(&old).as_deref(), Some(&b"old"[..]));
        let new = shared.encrypt(b"new").expect("sealed");
        assert_eq!(keys(&[&NEW]).decrypt(&new).as_deref(), Some(&b"new"[..]));
        shared.set([&NEW]).expect("long enough");
        assert_eq!((before.decrypt(&old), before.decrypt(&new).is_some()), (None, true));
    }

    #[test]
    fn another_audience_has_other_keys() {
        let members = TicketKeys::new([&OLD], b"members").expect("long enough");
        let ticket = keys(&[&OLD]).encrypt(b"anybody").expect("sealed");
        assert_eq!(members.decrypt(&ticket), None);
        // Not even with the right name.
        let mut renamed = ticket;
        renamed[..NAME].copy_from_slice(&members.encrypt(b"").expect("sealed")[..NAME]);
        assert_eq!(members.decrypt(&renamed), None);
    }

    #[test]
    fn a_ticket_ends_after_twelve_hours() {
        let keys = keys(&[&OLD]);
        let ticket = keys.seal(b"session", NOON).expect("sealed");
        for (now, opens) in [
            (NOON, true),
            (NOON + 43_200, true),
            (NOON + 43_201, false),
            (u64::MAX, false),
            (NOON - 1000, true),
            (0, true),
        ] {
            assert_eq!(keys.open(&ticket, now).is_some(), opens, "at {now}");
        }
    }

    #[test]
    fn changed_tickets_do_not_open() {
        let keys = keys(&[&OLD, &NEW]);
        let ticket = keys.encrypt(b"a session").expect("sealed");
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.decrypt(&changed), None, "byte {place}");
            assert_eq!(keys.decrypt(&ticket[..place]), None, "{place} bytes");
        }
        assert_eq!(keys.decrypt(&[&ticket[..], b"more"].concat()), None);
    }

    #[test]
    fn bad_secrets_are_refused_and_the_keys_stay() {
        let none: [&[u8]; 0] = [];
        assert_eq!(TicketKeys::new(none, b"").err(), Some(TicketKeysError::NoSecret));
        let keys = keys(&[&OLD]);
        let ticket = keys.encrypt(b"session").expect("sealed");
        let short = TicketKeysError::TooShort { place: 1, bytes: 31 };
        assert_eq!(keys.set([&OLD[..], &NEW[..31]]), Err(short));
        assert!(short.to_string().contains("31 bytes"));
        assert_eq!(keys.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(format!("{keys:?}"), "TicketKeys { keys: 1, .. }", "no secrets in logs");
    }
}
