//! `#[derive(Key)]`: the fields, one after the other.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, LitStr, Path, parse_quote};

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
                let name = ident.to_string();
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
    let mut krate = parse_quote! { ::ratelimit };
    for attribute in input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("key"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown argument; `key` takes `crate = \"path\"`"));
            }
            krate = meta.value()?.parse::<LitStr>()?.parse()?;
            Ok(())
        })?;
    }
    Ok(krate)
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
