//! [`hex`]: bytes as SQL has them.

/// Two digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Nothing can go wrong with a string.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
