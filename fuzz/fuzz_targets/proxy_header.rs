//! The header of the PROXY protocol: the same result whole and cut, in bounded time and memory, and no byte
//! after the header has a part in it.
#![no_main]

use portcullis_driver::{Address, BadProxyHeader, ProxyHeader};

/// The longest headers of version 1 and of version 2.
const LONGEST: [usize; 2] = [107, 4096];

/// The length of a complete header, and the client that it tells.
type Outcome = Result<Option<(usize, Option<Address>)>, BadProxyHeader>;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // The first bytes say how the others are cut.
    let Some((cuts, bytes)) = input.split_at_checked(4) else { return };
    let whole = outcome(bytes, &[]);
    assert_eq!(whole, outcome(bytes, &[1]), "byte by byte");
    assert_eq!(whole, outcome(bytes, cuts), "cut");
    let most = LONGEST[usize::from(bytes.first() != Some(&b'P'))];
    match &whole {
        Ok(Some((length, _))) => {
            assert!(*length <= most.min(bytes.len()));
            assert_eq!(whole, outcome(&bytes[..*length], &[]), "without the bytes after it");
            assert_eq!(outcome(&bytes[..*length - 1], &[]), Ok(None), "without its last byte");
            let mut changed = bytes.to_vec();
            changed[*length..].iter_mut().for_each(|byte| *byte = !*byte);
            assert_eq!(whole, outcome(&changed, &[]), "with other bytes after it");
        }
        Ok(None) => assert!(bytes.len() < most, "a header without end"),
        Err(_) => {}
    }
    let mut header = ProxyHeader::new();
    let allocated = allocation_counter::measure(|| drop(header.receive(bytes)));
    assert_eq!(allocated.count_total, 0);
});

/// What is made of the bytes in reads of these sizes, again and again; without sizes, in one read.
fn outcome(bytes: &[u8], sizes: &[u8]) -> Outcome {
    let mut header = ProxyHeader::new();
    let mut sizes = sizes.iter().cycle();
    let mut taken = 0;
    while taken < bytes.len() {
        let left = &bytes[taken..];
        let size = sizes.next().map_or(left.len(), |size| usize::from(*size).clamp(1, left.len()));
        if let Some(end) = header.receive(&left[..size])? {
            assert!(end.length <= size, "bytes that were not received");
            return Ok(Some((taken + end.length, end.client)));
        }
        taken += size;
    }
    Ok(None)
}
