//! Negotiates compression (RFC 7692 5, 7.1).
//!
//! In: the offers of a client, in order of its preference, and the server's settings. Out: the answer
//! to the first offer that can be accepted. An offer with unknown parameters is declined, which is
//! not an error: the websocket then runs without compression.

use super::extension::{Part, Value};
use core::fmt::Write;
use http::HeaderValue;

const NAME: &str = "permessage-deflate";
/// The smallest window of `permessage-deflate`, as a power of two.
const LEAST_BITS: u8 = 8;
pub(crate) const MOST_BITS: u8 = 15;
/// The smallest window that we can promise to send with: zlib uses 9 bits if asked for 8.
pub(crate) const LEAST_SERVER_BITS: u8 = 9;

/// The server's settings for compression. A context that is kept takes memory as long as the
/// websocket lasts. Receiving takes about 48 KiB, and sending 251 KiB to 380 KiB, depending on the
/// window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateSettings {
    /// The server keeps its context, so that messages it sends may refer to earlier ones.
    pub server_takeover: bool,
    /// The client may keep its context, so that messages it sends may refer to earlier ones.
    pub client_takeover: bool,
    /// The window for messages that the server sends: 9 to 15, as a power of two.
    pub server_window_bits: u8,
    /// The window for messages that the client sends: 8 to 15, as a power of two. The server can ask for
    /// it only if the client's offer allows that.
    pub client_window_bits: u8,
    /// The compression level: 1 is fastest, 9 compresses best.
    pub level: u8,
    /// The length in bytes from which on messages are compressed.
    pub least: usize,
}

impl Default for DeflateSettings {
    fn default() -> Self {
        DeflateSettings {
            server_takeover: false,
            client_takeover: false,
            server_window_bits: MOST_BITS,
            client_window_bits: MOST_BITS,
            level: 1,
            least: 256,
        }
    }
}

/// The parameters that both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) server_takeover: bool,
    pub(crate) client_takeover: bool,
    pub(crate) server_window_bits: u8,
    pub(crate) level: u8,
    pub(crate) least: usize,
    /// The client limited our window, so the answer has to state it.
    tells_server_bits: bool,
    /// The client's window, if its offer lets the server set a smaller one.
    client_window_bits: Option<u8>,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub(crate) fn answer(&self) -> HeaderValue {
        let mut text = String::from(NAME);
        if !self.server_takeover {
            text.push_str("; server_no_context_takeover");
        }
        if !self.client_takeover {
            text.push_str("; client_no_context_takeover");
        }
        if self.tells_server_bits {
            let _ = write!(text, "; server_max_window_bits={}", self.server_window_bits);
        }
        if let Some(bits) = self.client_window_bits {
            let _ = write!(text, "; client_max_window_bits={bits}");
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }
}

/// The offer that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    /// The offer has a parameter that is unknown, repeated, or has an invalid value.
    declined: bool,
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// The parameter, if it was given; and its value, which is optional.
    client_bits: Option<Option<u8>>,
}

/// Reads the offers, and accepts the first good one.
#[derive(Debug)]
pub(crate) struct Negotiation<'s> {
    settings: &'s DeflateSettings,
    offer: Option<Offer>,
    agreed: Option<Agreed>,
}

impl<'s> Negotiation<'s> {
    pub(crate) fn new(settings: &'s DeflateSettings) -> Self {
        Negotiation { settings, offer: None, agreed: None }
    }

    /// Takes the next part of the offers.
    pub(crate) fn look(&mut self, part: Part<'_>) {
        match part {
            Part::Name(name) => {
                self.end_offer();
                self.offer = name.eq_ignore_ascii_case(NAME).then(Offer::default);
            }
            Part::Parameter(name, value) => {
                if let Some(offer) = &mut self.offer {
                    offer.declined |= offer.read(name, value).is_none();
                }
            }
        }
    }

    /// Returns the agreement, if an offer was accepted.
    pub(crate) fn finish(mut self) -> Option<Agreed> {
        self.end_offer();
        self.agreed
    }

    fn end_offer(&mut self) {
        if let Some(offer) = self.offer.take()
            && self.agreed.is_none()
        {
            self.agreed = offer.accept(self.settings);
        }
    }
}

impl Offer {
    /// Takes a parameter. Returns `None` if the offer has to be declined because of it.
    fn read(&mut self, name: &str, value: Option<Value<'_>>) -> Option<()> {
        let bits = |value: Value<'_>| {
            value.number().filter(|bits| (LEAST_BITS..=MOST_BITS).contains(bits))
        };
        let is_new = match (name, value) {
            ("server_no_context_takeover", None) => {
                !core::mem::replace(&mut self.server_no_takeover, true)
            }
            ("client_no_context_takeover", None) => {
                !core::mem::replace(&mut self.client_no_takeover, true)
            }
            ("server_max_window_bits", Some(value)) => {
                self.server_bits.replace(bits(value)?).is_none()
            }
            ("client_max_window_bits", None) => self.client_bits.replace(None).is_none(),
            ("client_max_window_bits", Some(value)) => {
                self.client_bits.replace(Some(bits(value)?)).is_none()
            }
            _ => false,
        };
        is_new.then_some(())
    }

    fn accept(&self, settings: &DeflateSettings) -> Option<Agreed> {
        let wanted = settings.server_window_bits.clamp(LEAST_SERVER_BITS, MOST_BITS);
        let server_window_bits = self.server_bits.map_or(wanted, |most| most.min(wanted));
        if self.declined || server_window_bits < LEAST_SERVER_BITS {
            return None;
        }
        let client = settings.client_window_bits.clamp(LEAST_BITS, MOST_BITS);
        let client_window_bits = self.client_bits.and_then(|most| {
            let most = most.unwrap_or(MOST_BITS);
            (client < most).then_some(client)
        });
        Some(Agreed {
            server_takeover: settings.server_takeover && !self.server_no_takeover,
            client_takeover: settings.client_takeover && !self.client_no_takeover,
            server_window_bits,
            level: settings.level.clamp(1, 9),
            least: settings.least,
            tells_server_bits: self.server_bits.is_some(),
            client_window_bits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::extension;
    use super::*;

    fn negotiate(offers: &[&str], settings: &DeflateSettings) -> Option<String> {
        let mut negotiation = Negotiation::new(settings);
        for list in offers {
            extension::read(list.as_bytes(), |part| negotiation.look(part)).expect("well-formed");
        }
        negotiation.finish().map(|agreed| agreed.answer().to_str().expect("ASCII").to_owned())
    }

    fn by_default(offer: &str) -> Option<String> {
        negotiate(&[offer], &DeflateSettings::default())
    }

    fn with_takeover() -> DeflateSettings {
        DeflateSettings {
            server_takeover: true,
            client_takeover: true,
            ..DeflateSettings::default()
        }
    }

    const NONE_KEPT: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn no_context_is_kept_by_default() {
        assert_eq!(by_default("permessage-deflate").as_deref(), Some(NONE_KEPT));
        assert_eq!(
            by_default("Permessage-Deflate; client_max_window_bits").as_deref(),
            Some(NONE_KEPT),
            "the offer of browsers"
        );
        let takeover = |offer| negotiate(&[offer], &with_takeover());
        assert_eq!(takeover("permessage-deflate").as_deref(), Some("permessage-deflate"));
        assert_eq!(
            takeover("permessage-deflate; server_no_context_takeover").as_deref(),
            Some("permessage-deflate; server_no_context_takeover")
        );
        assert_eq!(
            takeover("permessage-deflate; client_no_context_takeover").as_deref(),
            Some("permessage-deflate; client_no_context_takeover")
        );
    }

    #[test]
    fn windows() {
        let settings =
            DeflateSettings { server_window_bits: 12, client_window_bits: 11, ..with_takeover() };
        for (offer, answer) in [
            ("", ""),
            ("; server_max_window_bits=15", "; server_max_window_bits=12"),
            ("; server_max_window_bits=12", "; server_max_window_bits=12"),
            ("; server_max_window_bits=9", "; server_max_window_bits=9"),
            ("; server_max_window_bits=\"10\"", "; server_max_window_bits=10"),
            ("; client_max_window_bits", "; client_max_window_bits=11"),
            ("; client_max_window_bits=15", "; client_max_window_bits=11"),
            ("; client_max_window_bits=12", "; client_max_window_bits=11"),
            ("; client_max_window_bits=11", ""),
            ("; client_max_window_bits=8", ""),
        ] {
            let offer = format!("permessage-deflate{offer}");
            let answer = format!("permessage-deflate{answer}");
            assert_eq!(negotiate(&[&offer], &settings), Some(answer), "{offer}");
        }
    }

    #[test]
    fn offers_that_are_declined() {
        for parameters in [
            "unknown",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=ten",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits; client_max_window_bits=10",
            "Server_No_Context_Takeover",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(by_default(&offer), None, "{offer}");
            let both = format!("{offer}, permessage-deflate");
            assert_eq!(by_default(&both).as_deref(), Some(NONE_KEPT), "the next offer wins");
        }
        assert_eq!(by_default("x-webkit-deflate-frame, permessage-bzip2; unknown"), None);
        assert_eq!(by_default(""), None);
    }

    #[test]
    fn the_first_good_offer_of_all_lines_wins() {
        let settings = with_takeover();
        let first = "foo; server_max_window_bits=9, permessage-deflate; bad";
        let second = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
        assert_eq!(
            negotiate(&[first, second], &settings).as_deref(),
            Some("permessage-deflate; server_max_window_bits=10")
        );
    }
}
