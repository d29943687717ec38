//! See `ratelimit_fuzz::states` for what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ratelimit_fuzz::states::check(input));
