//! What ARCHITECTURE.md shows of the generated code is what is generated.
//!
//! A block of code after `<!-- written -->` is an annotated function, and the block after the
//! `<!-- generated -->` that follows is what it becomes. `EXPANSIONS=overwrite` writes the latter
//! anew.

use std::path::Path;

use syn::{ItemFn, Meta};

use super::{Kind, expand};

const WRITTEN: &str = "<!-- written -->\n```rust\n";
const GENERATED: &str = "<!-- generated -->\n```rust\n";
const END: &str = "```";

/// What an annotated function becomes, as one would write it.
fn generated(written: &str) -> String {
    let mut function: ItemFn = syn::parse_str(written).unwrap();
    let attribute = function.attrs.remove(0);
    let kind = if attribute.path().is_ident("ratelimit") {
        Kind::Sync
    } else {
        Kind::Async
    };
    let arguments = match attribute.meta {
        Meta::List(list) => list.tokens,
        _ => proc_macro2::TokenStream::new(),
    };
    let file = syn::parse2(expand(kind, arguments, quote::quote! { #function })).unwrap();
    prettyplease::unparse(&file)
}

#[test]
fn it_shows_what_is_generated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let mut made = String::new();
    let mut rest = document.as_str();
    let mut examples = 0;
    while let Some((before, after)) = rest.split_once(WRITTEN) {
        let (written, after) = after.split_once(END).unwrap();
        let (between, after) = after.split_once(GENERATED).unwrap();
        let (_, after) = after.split_once(END).unwrap();
        let generated = generated(written);
        assert_eq!(generated.matches("static SITE").count(), 1, "one static");
        assert_eq!(generated.matches("::enter").count(), 1, "one call");
        for part in [
            before, WRITTEN, written, END, between, GENERATED, &generated, END,
        ] {
            made.push_str(part);
        }
        examples += 1;
        rest = after;
    }
    made.push_str(rest);
    assert!(examples >= 3);
    if std::env::var_os("EXPANSIONS").is_some_and(|value| value == "overwrite") {
        std::fs::write(&path, made).unwrap();
    } else {
        assert!(
            made == document,
            "set EXPANSIONS=overwrite, and read what changes"
        );
    }
}
