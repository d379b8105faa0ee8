//! The grammar of `Sec-WebSocket-Extensions` and `Sec-WebSocket-Protocol` (RFC 6455 4.1, 9.1).
//!
//! In: the value of a field line. Out: its parts in order, or [`Malformed`]. The parser looks at each
//! byte once.

/// The value does not match the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A part of a list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'h> {
    /// The name of an extension, which begins an offer.
    Name(&'h str),
    /// A parameter of the current offer.
    Parameter(&'h str, Option<Value<'h>>),
}

/// The value of a parameter: a token, or a token in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'h>(&'h [u8]);

impl Value<'_> {
    /// The value as a decimal number without leading zeros (RFC 7692 7.1.2).
    pub(crate) fn number(&self) -> Option<u8> {
        let mut number = None;
        for byte in self.bytes() {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number = match number {
                Some(0) => return None,
                Some(before) => Some(10u8.checked_mul(before)?.checked_add(digit)?),
                None => Some(digit),
            };
        }
        number
    }

    /// The value's bytes, without the backslashes that quoted values may have before any byte.
    fn bytes(&self) -> impl Iterator<Item = u8> {
        let mut escaped = false;
        self.0.iter().copied().filter(move |byte| {
            escaped = *byte == b'\\' && !escaped;
            !escaped
        })
    }
}

/// Calls `look` with each part of a list of extensions, and stops where the list is malformed.
pub(crate) fn read<'h>(list: &'h [u8], mut look: impl FnMut(Part<'h>)) -> Result<(), Malformed> {
    let mut rest = list;
    while let Some(element) = next_element(&mut rest) {
        look(Part::Name(token(element, &mut rest)?));
        while skip(&mut rest, b';') {
            space(&mut rest);
            let start = rest;
            let name = token(start, &mut rest)?;
            space(&mut rest);
            let value = if skip(&mut rest, b'=') { Some(value(&mut rest)?) } else { None };
            space(&mut rest);
            look(Part::Parameter(name, value));
        }
        if !matches!(rest, [] | [b',', ..]) {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// The elements of a list of plain tokens, for instance subprotocols.
pub(crate) fn tokens(list: &[u8]) -> impl Iterator<Item = Result<&str, Malformed>> {
    let mut rest = list;
    core::iter::from_fn(move || {
        let element = next_element(&mut rest)?;
        let token = token(element, &mut rest);
        Some(match rest {
            [] | [b',', ..] => token,
            _ => {
                rest = &[];
                Err(Malformed)
            }
        })
    })
}

/// Skips commas and white space; a list may have empty elements (RFC 9110 5.6.1.2).
fn next_element<'h>(rest: &mut &'h [u8]) -> Option<&'h [u8]> {
    while let [b',' | b' ' | b'\t', after @ ..] = *rest {
        *rest = after;
    }
    if rest.is_empty() { None } else { Some(rest) }
}

/// Takes the token at the start of `element`, and the white space after it.
fn token<'h>(element: &'h [u8], rest: &mut &'h [u8]) -> Result<&'h str, Malformed> {
    let length = element.iter().take_while(|byte| is_token(**byte)).count();
    let (token, after) = element.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    space(rest);
    if token.is_empty() { Err(Malformed) } else { str::from_utf8(token).map_err(|_| Malformed) }
}

/// Takes a token, or a token in quotes: the unquoted text has to be a token too (RFC 6455 9.1).
fn value<'h>(rest: &mut &'h [u8]) -> Result<Value<'h>, Malformed> {
    space(rest);
    let start = *rest;
    let [b'"', quoted @ ..] = start else {
        return token(start, rest).map(|token| Value(token.as_bytes()));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (inner, after) = quoted.split_at_checked(end.ok_or(Malformed)?).ok_or(Malformed)?;
    *rest = after.get(1..).unwrap_or_default();
    let value = Value(inner);
    if inner.is_empty() || !value.bytes().all(is_token) { Err(Malformed) } else { Ok(value) }
}

fn space(rest: &mut &[u8]) {
    while let [b' ' | b'\t', after @ ..] = *rest {
        *rest = after;
    }
}

fn skip(rest: &mut &[u8], byte: u8) -> bool {
    match *rest {
        [first, after @ ..] if *first == byte => {
            *rest = after;
            true
        }
        _ => false,
    }
}

/// The bytes of a token (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &str) -> Result<String, Malformed> {
        let mut text = String::new();
        read(list.as_bytes(), |part| match part {
            Part::Name(name) => text += &format!("[{name}]"),
            Part::Parameter(name, None) => text += &format!("{name} "),
            Part::Parameter(name, Some(value)) => {
                let value: String = value.bytes().map(char::from).collect();
                text += &format!("{name}={value} ");
            }
        })?;
        Ok(text)
    }

    #[test]
    fn lists_of_extensions() {
        for (list, expected) in [
            ("", ""),
            (" , ,\t", ""),
            ("foo", "[foo]"),
            ("foo, bar; baz=2", "[foo][bar]baz=2 "),
            ("foo;a;b=c ; d = e,bar", "[foo]a b=c d=e [bar]"),
            (
                "permessage-deflate; client_max_window_bits; x=\"10\"",
                "[permessage-deflate]client_max_window_bits x=10 ",
            ),
            ("foo;a=\"\\1\\0\"", "[foo]a=10 "),
            (",foo,,bar,", "[foo][bar]"),
        ] {
            assert_eq!(parts(list).as_deref(), Ok(expected), "{list}");
        }
    }

    #[test]
    fn malformed_lists() {
        for list in [
            "foo;",
            "foo; ;a",
            ";a",
            "=a",
            "foo;a=",
            "foo;=b",
            "foo bar",
            "foo;a b",
            "foo;a=b c",
            "foo;a=\"",
            "foo;a=\"\"",
            "foo;a=\"b",
            "foo;a=\"b c\"",
            "foo;a=\"b\\\"",
            "foo/bar",
            "foo;a=b=c",
            "\"foo\"",
            "föö",
            "foo;a=\"b\"c",
            "foo;a=\"b,\"",
        ] {
            assert_eq!(parts(list), Err(Malformed), "{list}");
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        let number = |text: &'static str| Value(text.as_bytes()).number();
        assert_eq!(
            (number("8"), number("15"), number("0"), number("255")),
            (Some(8), Some(15), Some(0), Some(255))
        );
        assert_eq!(number("1\\5"), Some(15), "in quotes");
        for text in ["", "08", "00", "256", "99999", "+9", "-1", "1x", "x"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn lists_of_tokens() {
        let all = |list: &'static str| tokens(list.as_bytes()).collect::<Result<Vec<_>, _>>();
        assert_eq!(all("keep-alive, Upgrade"), Ok(vec!["keep-alive", "Upgrade"]));
        assert_eq!(all(" ,,chat\t,v1.soap ,"), Ok(vec!["chat", "v1.soap"]));
        assert_eq!(all(""), Ok(vec![]));
        for list in ["a b", "a;b", "a/b", "\"a\"", "a, b c", "é", "a,(b)"] {
            assert_eq!(all(list), Err(Malformed), "{list}");
        }
        assert_eq!(tokens(b"a b, c").count(), 1, "no elements after a mistake");
    }
}
