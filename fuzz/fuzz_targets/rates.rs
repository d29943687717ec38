//! See `ratelimit_fuzz::rates` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ratelimit_fuzz::rates::check(input));
