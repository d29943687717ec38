//! Compiles each file of `pass`, and compares what the compiler says of each file of `fail`.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*/*.rs");
}
