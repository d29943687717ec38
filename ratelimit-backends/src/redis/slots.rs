//! In which of a cluster's slots a key is.

/// By what stands between the first brace and the next that closes, if there is anything.
pub(super) fn slot(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(name).as_bytes()) % 16_384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_caller_has_lies_in_one_slot() {
        // As `CLUSTER KEYSLOT` says.
        assert_eq!(slot("123456789"), 12_739);
        assert_eq!(slot("foo{bar}baz{x}"), slot("bar"));
        assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_eq!(slot("rl:{alice}:a:gcra"), slot("rl:{alice}:b:gcra"));
    }
}
