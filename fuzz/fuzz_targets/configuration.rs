//! See `ratelimit_fuzz::configuration` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ratelimit_fuzz::configuration::check(input));
