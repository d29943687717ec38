//! Texts and bytes made of the fuzzer's input.

use arbitrary::{Result, Unstructured};

/// Up to so many bytes.
pub(crate) fn bytes<'a>(input: &mut Unstructured<'a>, most: usize) -> Result<&'a [u8]> {
    let length = input.int_in_range(0..=most)?.min(input.len());
    input.bytes(length)
}

/// Bytes of which a few may be repeated, so that short inputs make huge values.
pub(crate) fn long_bytes(input: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let bytes = bytes(input, most)?;
    let times = match input.int_in_range(0..=15_u8)? {
        0 => usize::from(input.arbitrary::<u8>()?),
        1 => 1_000,
        _ => 1,
    };
    Ok(bytes.repeat(times))
}

/// A text; what is no UTF-8 is replaced.
pub(crate) fn text(input: &mut Unstructured<'_>, most: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(bytes(input, most)?).into_owned())
}

/// A text, huge at times.
pub(crate) fn long_text(input: &mut Unstructured<'_>, most: usize) -> Result<String> {
    Ok(String::from_utf8_lossy(&long_bytes(input, most)?).into_owned())
}
