//! See `ratelimit_fuzz::requests` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ratelimit_fuzz::requests::check(input));
