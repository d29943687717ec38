//! See `ratelimit_fuzz::keys` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ratelimit_fuzz::keys::check(input));
