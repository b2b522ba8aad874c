//! What the attribute was given.

use std::path::PathBuf;

use proc_macro2::{Span, TokenStream};
use syn::{Fields, ItemStruct, LitStr};

pub struct Input {
    pub item: ItemStruct,
    pub path: LitStr,
    /// Absolute path of the model file.
    pub file: PathBuf,
    /// File name of the model.
    pub name: String,
}

impl Input {
    /// `folder` is the folder of the crate's `Cargo.toml`.
    pub fn parse(
        arguments: TokenStream,
        item: TokenStream,
        folder: Option<PathBuf>,
    ) -> syn::Result<Self> {
        let usage = "expected the path of an ONNX file, as in #[nomopoly::model(\"model.onnx\")]";
        if arguments.is_empty() {
            return Err(syn::Error::new(Span::call_site(), usage));
        }
        let path: LitStr =
            syn::parse2(arguments).map_err(|error| syn::Error::new(error.span(), usage))?;
        let item: ItemStruct = syn::parse2(item).map_err(|error| {
            syn::Error::new(error.span(), "#[nomopoly::model] goes on a unit struct")
        })?;
        if !matches!(item.fields, Fields::Unit) || !item.generics.params.is_empty() {
            return Err(syn::Error::new(
                item.ident.span(),
                format!("#[nomopoly::model] goes on a unit struct: `struct {};`", item.ident),
            ));
        }
        let folder = folder.ok_or_else(|| {
            syn::Error::new(path.span(), "CARGO_MANIFEST_DIR is not set; build with cargo")
        })?;
        let file = folder.join(path.value());
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        match name {
            Some(name) if file.is_file() => Ok(Self { item, path, file, name }),
            _ => Err(syn::Error::new(
                path.span(),
                format!("{} is not a file; the path is relative to Cargo.toml", file.display()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn parse(arguments: TokenStream, item: TokenStream) -> Result<Input, String> {
        let folder = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        Input::parse(arguments, item, folder).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_and_a_unit_struct_are_accepted() {
        let input = parse(
            quote!("Cargo.toml"),
            quote!(
                pub struct Model;
            ),
        )
        .unwrap();
        assert_eq!(input.name, "Cargo.toml");
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        for (arguments, item, expected) in [
            (
                quote!(),
                quote!(
                    struct A;
                ),
                "expected the path",
            ),
            (
                quote!(path = "a"),
                quote!(
                    struct A;
                ),
                "expected the path",
            ),
            (
                quote!("Cargo.toml"),
                quote!(
                    fn a() {}
                ),
                "unit struct",
            ),
            (
                quote!("Cargo.toml"),
                quote!(
                    struct A(u8);
                ),
                "unit struct",
            ),
            (
                quote!("Cargo.toml"),
                quote!(
                    struct A<T>;
                ),
                "unit struct",
            ),
            (
                quote!("missing.onnx"),
                quote!(
                    struct A;
                ),
                "missing.onnx is not a file",
            ),
        ] {
            let error = parse(arguments, item).err().expect("a mistake");
            assert!(error.contains(expected), "{error}");
        }
    }
}
