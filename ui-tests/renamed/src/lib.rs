//! Only tests: see `tests/renamed_crate.rs`.
