use quote::quote;

use super::*;

#[track_caller]
fn assert_has(expanded: &str, part: &TokenStream) {
    // Where tokens come from decides about the blanks between them.
    let without_blanks = |text: &str| text.replace(char::is_whitespace, "");
    let found = without_blanks(expanded).contains(&without_blanks(&part.to_string()));
    assert!(found, "no\n{part}\nin\n{expanded}");
}

#[test]
fn a_guard_is_one_static_one_call_and_the_body() {
    let found = sync(
        quote! { rate = "10/m" },
        quote! {
            /// Documented.
            #[inline]
            pub fn f<T: Copy>(t: T) -> Option<T> where T: Send { Some(t) }
        },
    );
    let expected = quote! {
        /// Documented.
        #[inline]
        pub fn f<T: Copy>(t: T) -> Option<T> where T: Send {
            let __ratelimit_admitted = match {
                let __ratelimit_call = ::ratelimit::__private::Call::new();
                ::ratelimit::__private::enter(
                    {
                        static SITE: ::ratelimit::__private::Site =
                            ::ratelimit::__private::Site::new(
                                ::core::concat!(::core::module_path!(), "::f"),
                                ::ratelimit::__private::Algorithm::TokenBucket
                            )
                            .limits(&[::ratelimit::__private::limits(&[(10u32, 60000u64)], &[])])
                            .at(::core::file!(), ::core::line!(), ::core::column!());
                        ::ratelimit::__private::inventory::submit! {
                            ::ratelimit::__private::Collected(&SITE)
                        }
                        &SITE
                    },
                    __ratelimit_call
                )
            } {
                ::core::result::Result::Ok(__ratelimit_admitted) => __ratelimit_admitted,
                ::core::result::Result::Err(__ratelimit_rejection) => return
                    <Option<T> as ::ratelimit::__private::FromRejection>::from_rejection(
                        __ratelimit_rejection
                    ),
            };
            { Some(t) }
        }
    };
    assert_eq!(found, expected.to_string());
}

#[test]
fn what_is_known_goes_into_the_static() {
    let found = sync(
        quote! {
            rate = "100/h, 5/s", burst = [200, 10], cost = 3, algorithm = "leaky_bucket",
            name = "export", backend = "redis", mode = "shadow", on_error = "local", key = user.id,
            wait = "2s",
            crate = vendored::limits,
        },
        quote! { fn f(user: User) -> Option<u32> { None } },
    );
    assert_has(
        &found,
        &quote! {
            vendored::limits::__private::Site::new(
                "export", vendored::limits::__private::Algorithm::LeakyBucket
            )
            .named()
            .limits(&[vendored::limits::__private::limits(
                &[(100u32, 3600000u64), (5u32, 1000u64)], &[200u32, 10u32]
            )])
            .backend("redis")
            .cost(3u32)
            .wait(vendored::limits::__private::wait(2000u64))
            .mode(vendored::limits::__private::Mode::Shadow)
            .on_error(vendored::limits::__private::OnError::Local)
            .key("user . id")
        },
    );
    assert!(!found.contains("dynamic"));
    let without = sync(
        quote! { rate = "1/s" },
        quote! { fn f() -> Option<u32> { None } },
    );
    assert!(!without.contains("wait"));
}

#[test]
fn a_key_is_borrowed_place_by_place_and_computed_whole() {
    let item = || quote! { fn f(&self, a: u32, b: B) -> Option<u32> { None } };
    for (key, borrowed) in [
        (quote! { a }, quote! { keyed(&a) }),
        (quote! { "b" }, quote! { keyed(&b) }),
        (quote! { self.id }, quote! { keyed(&self.id) }),
        (quote! { (a) }, quote! { keyed(&a) }),
        (
            quote! { (a, (b.c, 1)) },
            quote! { keyed(&(&a, &(&b.c, &1,),)) },
        ),
        (quote! { a + 1 }, quote! { keyed(&(a + 1)) }),
        (quote! { a as u64 }, quote! { keyed(&(a as u64)) }),
        (quote! { b.len() }, quote! { keyed(&b.len()) }),
    ] {
        let found = sync(quote! { rate = "1/s", key = #key }, item());
        assert_has(&found, &borrowed);
    }
}

#[test]
fn literals_in_tail_position_are_rates() {
    let found = sync(
        quote! {
            rate = match text {
                "not/a rate" if check("1/x") => "10/m",
                "b" => { let x = "y"; if x == "z" { "1/s" } else { return None } }
                "c" => panic!("no"),
                "d" => plan.rate,
                _ => compute("1/x"),
            }
        },
        quote! { fn f(text: &str, plan: Plan) -> Option<u32> { None } },
    );
    let private = quote! { ::ratelimit::__private };
    assert_has(
        &found,
        &quote! {
            .limits(&[
                #private::limits(&[(10u32, 60000u64)], &[]),
                #private::limits(&[(1u32, 1000u64)], &[])
            ])
            .dynamic()
        },
    );
    assert_has(
        &found,
        &quote! { check("1/x") => { const { #private::limits(&[(10u32, 60000u64)], &[]) } } },
    );
    assert_has(&found, &quote! { else { { return None } } });
    assert_has(&found, &quote! { "c" => { panic!("no") } });
    assert_has(
        &found,
        &quote! { "d" => { #private::into_limits_ref(&plan.rate) } },
    );
    assert_has(
        &found,
        &quote! { _ => { #private::IntoLimits::into_limits(compute("1/x")) } },
    );
}

#[test]
fn bursts_are_constants_where_the_rates_are() {
    let item = || quote! { fn f(a: bool, rate: Rate, n: u32) -> Option<u32> { None } };
    let found = sync(
        quote! { rate = if a { "9/h, 1/s" } else { "1/m, 2/s" }, burst = [7, 8] },
        item(),
    );
    assert_has(
        &found,
        &quote! { [(9u32, 3600000u64), (1u32, 1000u64)], &[7u32, 8u32] },
    );
    assert!(!found.contains(". burst"));
    let found = sync(
        quote! { rate = if a { "1/s" } else { rate }, burst = 7 },
        item(),
    );
    assert_has(&found, &quote! { __ratelimit_call.burst([7u32]) });
    let found = sync(quote! { rate = "1/s", burst = n }, item());
    assert_has(&found, &quote! { __ratelimit_call.burst(n) });
    assert_has(&found, &quote! { .dynamic() });
}

#[test]
fn the_arguments_are_evaluated_one_statement_each_after_skip_if() {
    let found = asynchronous(
        quote! { rate = plan, key = user, cost = rows.len(), skip_if = user.admin },
        quote! { async fn f(plan: Plan, user: User, rows: Vec<Row>) -> Option<u32> { None } },
    );
    assert_has(
        &found,
        &quote! {
            let __ratelimit_skip: ::core::primitive::bool = user.admin;
            if __ratelimit_skip {
                ::ratelimit::__private::Call::skipped()
            } else {
                {
                    let __ratelimit_call = ::ratelimit::__private::Call::keyed(&user);
                    let __ratelimit_call = __ratelimit_call.limits(
                        ::ratelimit::__private::into_limits_ref(&plan)
                    );
                    __ratelimit_call.cost(rows.len())
                }
            }
        },
    );
}

#[test]
fn a_request_is_looked_for_before_patterns_are_taken_apart() {
    let found = asynchronous(
        quote! { rate = "1/s", key = "header:X-Api-Key", cost = n },
        quote! { async fn f(&self, req: Parts, Path(n): Path<u32>, _: Body) -> Option<u32> { None } },
    );
    assert_has(
        &found,
        &quote! {
            (&self, req: Parts, __ratelimit_argument_2: Path<u32>, __ratelimit_argument_3: Body)
        },
    );
    let probed = found.find("from_source").unwrap();
    assert_has(&found, &quote! { Source::Header("header:x-api-key") });
    for argument in [
        "self",
        "req",
        "__ratelimit_argument_2",
        "__ratelimit_argument_3",
    ] {
        assert!(found.contains(&format!("Probe (& {argument})")), "{found}");
    }
    let apart = found
        .find("let Path (n) = __ratelimit_argument_2 ;")
        .unwrap();
    assert!(probed < apart && apart < found.find(". cost (n)").unwrap());
}

#[test]
fn a_named_request_is_the_only_one_that_is_asked() {
    let found = sync(
        quote! { rate = "1/s", key = "ip", request = info },
        quote! { fn f((info, n): (Info, u32), req: Parts) -> Option<u32> { None } },
    );
    assert_has(
        &found,
        &quote! { &[::ratelimit::__private::request(&info)] },
    );
    assert!(!found.contains("Probe"));
}

#[test]
fn futures_run_their_body_first_and_are_polled_when_admitted() {
    let body = quote! { { run(user) } };
    let found = asynchronous(
        quote! { rate = "1/s", key = user },
        quote! { fn f(user: u32) -> impl Future<Output = Option<u32>> + Send #body },
    );
    let call = found.find("let __ratelimit_call_0").unwrap();
    let ran = found.find("call_once (move || { run (user) })").unwrap();
    let asked = found.find("enter_async").unwrap();
    assert!(call < ran && ran < asked && !found.contains("Box :: pin"));
    for ty in [
        quote! { Pin<Box<dyn Future<Output = Option<u32>> + Send + '_>> },
        quote! { ::std::pin::Pin<Box<(dyn Future<Output = Option<u32>>)>> },
        quote! { futures::BoxFuture<'_, Option<u32>> },
        quote! { LocalBoxFuture<'static, Option<u32>> },
    ] {
        let found = asynchronous(
            quote! { rate = "1/s" },
            quote! { fn f(user: u32) -> #ty #body },
        );
        assert_has(&found, &quote! { call_once(move || -> #ty #body) });
        assert!(found.contains(":: std :: boxed :: Box :: pin (async move {"));
        assert_has(&found, &quote! { return <Option<u32> as });
    }
}

#[test]
fn a_response_is_made_of_the_value_or_of_the_rejection() {
    let item = quote! { fn f() -> impl axum::IntoResponse + Send { "x" } };
    let found = sync(quote! { rate = "1/s" }, item.clone());
    assert!(found.contains(":: ratelimit :: __private :: respond (match {"));
    assert_has(&found, &quote! { call_once(move || { "x" }) });
    let found = asynchronous(quote! { rate = "1/s" }, quote! { async #item });
    assert_has(&found, &quote! { async move { "x" }.await });
    let found = sync(quote! { rate = "1/s", on_limit = no }, item);
    assert_has(
        &found,
        &quote! { return ::ratelimit::__private::on_limit(no, __ratelimit_rejection) },
    );
}

#[test]
fn async_trait_patterns_are_taken_apart_outside() {
    let found = asynchronous(
        quote! { rate = "1/s", key = a },
        quote! {
            fn f<'async_trait>(__arg0: (u32, u32), n: u32)
                -> Pin<Box<dyn Future<Output = Option<u32>> + Send + 'async_trait>>
            {
                Box::pin(async move {
                    let (a, mut b) = { let __arg0 = __arg0; __arg0 };
                    let mut n = n;
                    let __ret: Option<u32> = { None };
                    __ret
                })
            }
        },
    );
    let apart = found.find("let (a , mut b) = __arg0 ;").unwrap();
    assert!(apart < found.find("keyed (& a)").unwrap());
    assert!(!found.contains("let __arg0 = __arg0"));
    assert_has(&found, &quote! { let mut n = n; });
}

#[test]
fn stacked_attributes_become_guards_in_the_written_order() {
    let found = sync(
        quote! { rate = "1/s" },
        quote! {
            #[ratelimit::ratelimit(rate = "2/s", on_limit = no)]
            #[inline]
            #[ratelimit(rate = "3/s")]
            fn f() -> Option<u32> { None }
        },
    );
    let at = |text: &str| found.find(text).unwrap();
    assert!(at("1u32 , 1000u64") < at("2u32 , 1000u64"));
    assert!(at("2u32 , 1000u64") < at("3u32 , 1000u64"));
    assert!(at("\"::f\"") < at("\"::f#2\"") && at("\"::f#2\"") < at("\"::f#3\""));
    assert!(found.starts_with("# [inline] fn f"), "{found}");
}

#[test]
fn attributes_of_other_crates_are_left_alone() {
    let below = |attribute: TokenStream| {
        let item = quote! { #attribute fn f() -> Option<()> { None } };
        let expanded = sync(quote! { rate = "10/m" }, item);
        expanded.matches("static SITE").count()
    };
    for ours in [
        quote! { #[ratelimit(rate = "1/s")] },
        quote! { #[ratelimit::ratelimit(rate = "1/s")] },
        quote! { #[my::vendored::ratelimit::ratelimit(rate = "1/s")] },
        quote! { #[renamed::ratelimit(rate = "1/s", crate = renamed)] },
    ] {
        assert_eq!(below(ours), 2);
    }
    for other in [
        quote! { #[other::ratelimit(whatever it takes)] },
        quote! { #[other::ratelimit] },
        quote! { #[other::limits(rate = "1/s")] },
    ] {
        assert_eq!(below(other.clone()), 1, "{other}");
    }
}
