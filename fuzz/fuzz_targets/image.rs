//! `cargo fuzz run image`: see `skink_fuzz::TARGETS`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| skink_fuzz::run("image", data));

#[cfg(not(fuzzing))]
fn main() {}
