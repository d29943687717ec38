//! `#[derive(Key)]`: the fields, one after the other.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, Ident, LitStr, Path, parse_quote};

pub(crate) fn expand(tokens: TokenStream) -> syn::Result<TokenStream> {
    let mut input: DeriveInput = syn::parse2(tokens)?;
    let krate = crate_path(&input)?;
    for parameter in input.generics.type_params_mut() {
        parameter.bounds.push(parse_quote! { #krate::Key });
    }
    let out = Ident::new("out", Span::mixed_site());
    let body = match &input.data {
        Data::Struct(data) => {
            let count = data.fields.len();
            let pattern = pattern(&data.fields);
            let fields = encode(&krate, &data.fields, &out);
            quote! {
                let Self #pattern = self;
                #out.fields(#count);
                #fields
            }
        }
        Data::Enum(data) if data.variants.is_empty() => quote! { match *self {} },
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let (ident, count) = (&variant.ident, variant.fields.len());
                let name = ident.unraw().to_string();
                let pattern = pattern(&variant.fields);
                let fields = encode(&krate, &variant.fields, &out);
                quote! { Self::#ident #pattern => { #out.variant(#name, #count); #fields } }
            });
            quote! { match self { #(#arms)* } }
        }
        Data::Union(data) => {
            return Err(syn::Error::new(
                data.union_token.span(),
                "a union cannot be a key, as it does not say which of its fields it holds; derive \
                 `Key` for a struct or an enum, or implement it",
            ));
        }
    };
    let ident = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #krate::Key for #ident #arguments #clause {
            fn encode(&self, #out: &mut #krate::KeyBuf) {
                #body
            }
        }
    })
}

/// `::ratelimit`, or what `#[key(crate = "path")]` says.
fn crate_path(input: &DeriveInput) -> syn::Result<Path> {
    let fields = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    if let Some(misplaced) = fields
        .iter()
        .flat_map(|field| &field.attrs)
        .find(|attr| is_ours(attr))
    {
        let message = "`#[key(…)]` stands on the type, not on its fields; every field is part of \
                       the key";
        return Err(syn::Error::new_spanned(misplaced, message));
    }
    let mut krate = parse_quote! { ::ratelimit };
    for attribute in input.attrs.iter().filter(|attr| is_ours(attr)) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown argument; `key` takes `crate = \"path\"`"));
            }
            let value = meta.value()?;
            krate = if value.peek(LitStr) {
                value.parse::<LitStr>()?.parse()?
            } else {
                value.call(Path::parse_mod_style)?
            };
            Ok(())
        })?;
    }
    Ok(krate)
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("key")
}

/// A pattern that binds each field under a name of its own.
fn pattern(fields: &Fields) -> TokenStream {
    let bound = (0..fields.len()).map(binding);
    match fields {
        Fields::Named(named) => {
            let idents = named.named.iter().map(|field| &field.ident);
            quote! { { #(#idents: #bound),* } }
        }
        Fields::Unnamed(_) => quote! { ( #(#bound),* ) },
        Fields::Unit => TokenStream::new(),
    }
}

/// A field that cannot be a key is the compiler's to report, at the field's type.
fn encode(krate: &Path, fields: &Fields, out: &Ident) -> TokenStream {
    let calls = fields.iter().enumerate().map(|(index, field)| {
        let span = field.ty.span().resolved_at(Span::mixed_site());
        let mut bound = binding(index);
        bound.set_span(span);
        quote_spanned! { span=> #krate::Key::encode(#bound, #out); }
    });
    quote! { #(#calls)* }
}

fn binding(index: usize) -> Ident {
    format_ident!("field_{index}", span = Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(tokens: TokenStream) -> String {
        expand(tokens).unwrap().to_string()
    }

    #[test]
    fn every_field_is_encoded_in_order() {
        let expected = quote! {
            #[automatically_derived]
            impl ::ratelimit::Key for Tenant {
                fn encode(&self, out: &mut ::ratelimit::KeyBuf) {
                    let Self { region: field_0, id: field_1 } = self;
                    out.fields(2usize);
                    ::ratelimit::Key::encode(field_0, out);
                    ::ratelimit::Key::encode(field_1, out);
                }
            }
        };
        assert_eq!(
            expanded(quote! { struct Tenant { region: String, id: u64 } }),
            expected.to_string()
        );
    }

    #[test]
    fn a_variant_is_its_name_and_its_fields() {
        let caller = quote! { enum Caller { Nobody, r#User(u32), Machine { rack: u8 } } };
        let caller = expanded(caller);
        for arm in [
            "Self :: Nobody => { out . variant (\"Nobody\" , 0usize) ;",
            "Self :: r#User (field_0) => { out . variant (\"User\" , 1usize) ;",
            "Self :: Machine { rack : field_0 } => { out . variant (\"Machine\" , 1usize) ;",
        ] {
            assert!(caller.contains(arm), "{arm} in {caller}");
        }
        assert!(expanded(quote! { enum Never {} }).contains("match * self { }"));
    }

    #[test]
    fn type_parameters_are_keys() {
        let expanded =
            expanded(quote! { struct Pair<'a, A: Clone, const N: usize>(&'a A, [u8; N]); });
        let header = quote! {
            impl<'a, A: Clone + ::ratelimit::Key, const N: usize> ::ratelimit::Key for Pair<'a, A, N>
        };
        assert!(expanded.contains(&header.to_string()), "{expanded}");
    }

    #[test]
    fn the_crate_may_be_elsewhere() {
        for path in [quote! { "crate::vendored" }, quote! { crate::vendored }] {
            let expanded = expanded(quote! { #[key(crate = #path)] struct Everyone; });
            assert!(
                expanded.contains("impl crate :: vendored :: Key for Everyone"),
                "{expanded}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_key_says_why() {
        let message = |tokens| expand(tokens).unwrap_err().to_string();
        assert!(message(quote! { union U { a: u32 } }).starts_with("a union cannot be a key"));
        assert!(message(quote! { #[key(name = "x")] struct S; }).contains("`key` takes `crate"));
        assert!(message(quote! { struct S { #[key(skip)] a: u32 } }).contains("on the type"));
    }
}
