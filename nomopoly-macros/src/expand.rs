//! What the attribute expands to.

use proc_macro2::TokenStream;
use quote::quote;

use crate::parse::Input;

pub fn expand(input: &Input) -> TokenStream {
    let Input { item, name, .. } = input;
    let ident = &item.ident;
    // A literal with the user's span, so that the compiler's own complaints point at the path.
    let file = syn::LitStr::new(&input.file.to_string_lossy(), input.path.span());
    quote! {
        #item

        impl ::nomopoly::EmbeddedModel for #ident {
            const NAME: &'static str = #name;
            const BYTES: &'static [u8] = ::core::include_bytes!(#file);
        }
    }
}
