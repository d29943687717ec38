use quote::quote;

use super::*;

/// The messages about one attribute.
fn messages(kind: Kind, arguments: TokenStream, item: TokenStream) -> Vec<String> {
    let errors = match parse::parse(kind, arguments, item) {
        Ok(parsed) => validate::validate(&parsed).err(),
        Err((error, _)) => Some(error),
    };
    let errors = errors.into_iter().flatten();
    errors.map(|error| error.to_string()).collect()
}

/// The messages about an attribute on a function that would be fine.
fn faults(arguments: TokenStream) -> Vec<String> {
    let function = quote! { fn f(user: User, tenant: &str) -> Option<u32> { None } };
    messages(Kind::Sync, arguments, function)
}

#[track_caller]
fn assert_fault(arguments: TokenStream, message: &str) {
    let faults = faults(arguments);
    assert!(
        faults.len() == 1 && faults[0].contains(message),
        "{faults:?}"
    );
}

#[test]
fn a_mistake_leaves_the_function_as_it_was() {
    let found = sync(
        quote! { rate = "10/x" },
        quote! { #[ratelimit(rate = "1/s")] #[inline] fn f() -> Option<u32> { None } },
    );
    assert!(found.starts_with(&quote! { #[inline] fn f() -> Option<u32> { None } }.to_string()));
    assert_eq!(found.matches("compile_error").count(), 1);
    let item = quote! { #[derive(Debug)] #[ratelimit(rate = "1/x")] struct S; };
    let found = sync(quote! { rate = "1/s" }, item);
    assert!(
        found.starts_with("# [derive (Debug)] struct S ;"),
        "{found}"
    );
    assert_eq!(found.matches("compile_error").count(), 1);
}

#[test]
fn all_mistakes_are_reported_together() {
    let faults = faults(quote! {
        rate "1/s", algoritm = "gcra", "5/s", mode = "shadows" on_error = "opened", key = "usr", cost = -1
    });
    for (fault, part) in faults.iter().zip([
        "unknown argument `algoritm`; did you mean `algorithm`?",
        "expected a value: `rate = …`",
        "write `rate = \"5/s\"`",
        "expected `,` between two arguments",
        "did you mean `open`?",
        "did you mean `shadow`?",
        "cannot be negative",
        "did you mean `user`?",
    ]) {
        assert!(fault.contains(part), "{part}: {faults:#?}");
    }
    assert_eq!(faults.len(), 8, "{faults:#?}");
}

#[test]
fn each_argument_says_what_it_takes() {
    let rate = quote! { rate = "10/m" };
    assert_fault(quote! { key = user }, "`rate` is missing");
    assert_fault(quote! { rate = 10 }, "a rate is text");
    assert_fault(quote! { rate = "10/x" }, "at `x`: unknown unit");
    assert_fault(quote! { rate = if x { "1/s" } }, "add an `else` branch");
    assert_fault(
        quote! { rate = match x { 0 => "1/s", _ => "0/s" } },
        "at least 1",
    );
    assert_fault(quote! { #rate, wait = 500 }, "a wait is text");
    assert_fault(
        quote! { #rate, wait = "500" },
        "at the end: expected a unit",
    );
    assert_fault(
        quote! { #rate, wait = "2h" },
        "at `2h`: a wait is at most 1h",
    );
    assert_fault(quote! { #rate, waits = "2s" }, "did you mean `wait`?");
    assert_fault(quote! { #rate, rate = "1/s" }, "`rate` is given twice");
    assert_fault(quote! { #rate, algorithm = gcra }, "expected text");
    assert_fault(quote! { #rate, backend = "" }, "must not be empty");
    assert_fault(quote! { #rate, name = "a\n" }, "control characters");
    assert_fault(quote! { #rate, crate = 7 }, "expected a path");
    assert_fault(
        quote! { #rate, algorithm = "fixed_window", burst = 2 },
        "has no burst",
    );
    assert_fault(quote! { #rate, burst = 0 }, "at least 1, for \"10/m\"");
    assert_fault(quote! { #rate, burst = [] }, "found none");
    assert_fault(quote! { #rate, burst = [1, 2] }, "found 2 for 1");
    assert_fault(
        quote! { rate = "9/h, 1/s", burst = n },
        "write the rate as \"1/s, 9/h\"",
    );
    assert_fault(quote! { #rate, cost = 1.5 }, "a cost is a whole number");
    assert_fault(quote! { #rate, cost = 5_000_000_000 }, "found 5000000000");
    assert_fault(
        quote! { #rate, cost = 11 },
        "\"10/m\" admits at most 10 at once",
    );
    assert_fault(quote! { #rate, burst = 5, cost = 6 }, "at most 5 at once");
    assert_fault(quote! { #rate, key = "" }, "unknown key \"\"");
    assert_fault(
        quote! { #rate, key = "header:" },
        "expected the name of a header",
    );
    assert_fault(quote! { #rate, key = "header:x y" }, "cannot contain ' '");
    assert_fault(
        quote! { #rate, key = "user.id" },
        "without quotes: `key = user.id`",
    );
    assert_fault(quote! { #rate, key = ip }, "for the source: `key = \"ip\"`");
    assert_fault(
        quote! { #rate, key = "ip", request = req },
        "they are `user`, `tenant`",
    );
    assert_fault(
        quote! { #rate, key = user, request = tenant },
        "remove `request`",
    );
    assert_fault(quote! { #rate, request = tenant }, "`key` is not given");
    assert_eq!(faults(quote! { #rate, burst = 20, cost = 20 }), [""; 0]);
    assert_eq!(faults(quote! { #rate, wait = "1_500 ms" }), [""; 0]);
}

#[test]
fn what_cannot_be_guarded_says_why() {
    let found = |kind, item| messages(kind, quote! { rate = "1/s" }, item).join("\n");
    for (item, what) in [
        (quote! { struct S; }, "a struct"),
        (quote! { enum E {} }, "an enum"),
        (quote! { mod m {} }, "a module"),
        (quote! { impl S {} }, "an `impl` block"),
        (quote! { trait T {} }, "a trait"),
        (quote! { const C: u32 = 7; }, "a constant"),
    ] {
        assert!(found(Kind::Sync, item).ends_with(what));
    }
    let declared = quote! { fn f(&self) -> Option<u32>; };
    assert!(found(Kind::Sync, declared).contains("put it on the implementation"));
    let constant = quote! { const fn f() -> Option<u32> { None } };
    assert!(found(Kind::Sync, constant).contains("remove `const`"));
    let plain = quote! { fn f() -> Option<u32> { None } };
    assert!(found(Kind::Async, plain.clone()).contains("use `#[ratelimit]`"));
    assert!(found(Kind::Sync, quote! { async #plain }).contains("use `#[aratelimit]`"));
    for ty in [
        quote! { impl Future<Output = ()> },
        quote! { Pin<Box<dyn Future<Output = ()>>> },
        quote! { BoxFuture<'static, ()> },
    ] {
        let item = quote! { fn f() -> #ty { later() } };
        assert!(found(Kind::Sync, item).contains("this one returns a future"));
    }
    for ty in [quote! { impl Iterator<Item = u32> }, quote! { ! }] {
        let item = quote! { fn f() -> #ty { value() } };
        assert!(found(Kind::Sync, item).contains("add `on_limit = |rejection| …`"));
        let item = quote! { fn f() -> impl Future<Output = #ty> { value() } };
        assert!(found(Kind::Async, item).contains("add `on_limit = |rejection| …`"));
    }
}
