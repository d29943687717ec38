//! The static of one attribute: what is known of it while compiling.

use proc_macro2::TokenStream;
use ratelimit_core::{Algorithm, Mode, OnError};
use syn::Ident;
use syn::ext::IdentExt;

use super::validate::Guard;

/// The static, and a reference to it.
pub(super) fn site(index: usize, guard: &Guard, function: &Ident) -> TokenStream {
    let private = &guard.private;
    let algorithm = match guard.algorithm {
        Algorithm::LeakyBucket => hygienic! { LeakyBucket },
        Algorithm::FixedWindow => hygienic! { FixedWindow },
        Algorithm::SlidingWindow => hygienic! { SlidingWindow },
        Algorithm::SlidingWindowCounter => hygienic! { SlidingWindowCounter },
        Algorithm::Gcra => hygienic! { Gcra },
        _ => hygienic! { TokenBucket },
    };
    let name = if let Some(name) = &guard.name {
        let name = name.value();
        hygienic! { #name }
    } else {
        let number = if index == 0 {
            String::new()
        } else {
            format!("#{}", index + 1)
        };
        let path = format!("::{}{number}", function.unraw());
        hygienic! { ::core::concat!(::core::module_path!(), #path) }
    };
    let mut more = TokenStream::new();
    if guard.name.is_some() {
        more.extend(hygienic! { .named() });
    }
    if !guard.rate.known.is_empty() {
        let known = guard
            .rate
            .known
            .iter()
            .map(|rates| rates.to_tokens(private));
        more.extend(hygienic! { .limits(&[#(#known),*]) });
    }
    if guard.rate.computed.is_some() {
        more.extend(hygienic! { .dynamic() });
    }
    if let Some(backend) = &guard.backend {
        let backend = backend.value();
        more.extend(hygienic! { .backend(#backend) });
    }
    if let Some(cost) = guard.known_cost {
        more.extend(hygienic! { .cost(#cost) });
    }
    if let Some(wait) = guard.wait {
        let millis = u64::try_from(wait.duration().as_millis()).unwrap_or(u64::MAX);
        more.extend(hygienic! { .wait(#private::wait(#millis)) });
    }
    match guard.mode {
        Some(Mode::Shadow) => more.extend(hygienic! { .mode(#private::Mode::Shadow) }),
        Some(Mode::Off) => more.extend(hygienic! { .mode(#private::Mode::Off) }),
        _ => {}
    }
    match guard.on_error {
        Some(OnError::Open) => more.extend(hygienic! { .on_error(#private::OnError::Open) }),
        Some(OnError::Local) => more.extend(hygienic! { .on_error(#private::OnError::Local) }),
        Some(_) => more.extend(hygienic! { .on_error(#private::OnError::Closed) }),
        None => {}
    }
    if let Some((_, key)) = &guard.key {
        more.extend(hygienic! { .key(#key) });
    }
    hygienic! {
        {
            static SITE: #private::Site =
                #private::Site::new(#name, #private::Algorithm::#algorithm)
                    #more
                    .at(::core::file!(), ::core::line!(), ::core::column!());
            #private::inventory::submit! { #private::Collected(&SITE) }
            &SITE
        }
    }
}
