//! Field compression of HTTP/2 (RFC 7541).
//!
//! In: the field blocks of a peer, or the fields of an answer. Out: the fields as text, or a field block.
//! Blocks must be decoded and encoded in the order of the connection, because each may change a table that
//! both sides keep.
//!
//! | file | contents |
//! |---|---|
//! | `integer` | integers with a prefix (5.1), bounded |
//! | `huffman` | the Huffman code (5.2, appendix B), both directions |
//! | `table` | the static table (appendix A) and the dynamic table (2.3.2, 4) |
//! | `decode` | a field block to fields (6) |
//! | `encode` | fields to a field block, and which of them are worth indexing |

mod decode;
mod encode;
mod huffman;
mod integer;
#[cfg(test)]
mod python;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use decode::{Decoder, Field};
pub(crate) use encode::{CONTENT_LENGTH, CONTENT_TYPE, DATE, ENCODER_MEMORY, Encoder};
pub(crate) use table::memory_bound;

/// A field block that can't be decoded: a connection error of type COMPRESSION_ERROR (RFC 9113 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HpackError {
    /// The block ends inside a field.
    Truncated,
    /// An integer has more than five continuation bytes, or exceeds 32 bits.
    IntegerTooLarge,
    /// Neither table has an entry with this index.
    BadIndex,
    /// A Huffman-coded string contains EOS, or its padding is too long or not all ones.
    BadHuffman,
    /// A size update exceeds our limit.
    TableSize,
    /// A size update follows a field, or is the third of its block.
    MisplacedTableSize,
    /// We lowered the limit, and the next block does not begin with the size update that this needs.
    MissingTableSize,
}
