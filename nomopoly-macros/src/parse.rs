//! What the user wrote.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Fields, Ident, ItemStruct, LitBool, LitStr, Token};

const USAGE: &str =
    "expected the path of an ONNX file, as in #[nomopoly::model(\"models/digits.onnx\")]";
const OPTIONS: &str = "expected `embed = false` or `device = \"cpu\"`";

/// The attribute and its item.
pub struct Input {
    pub item: ItemStruct,
    pub path: LitStr,
    /// Whether the model file becomes part of the program.
    pub embed: bool,
    pub device: Device,
}

/// Where tensors are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Auto,
    Cpu,
    Cuda,
    Metal,
}

struct Arguments {
    path: LitStr,
    embed: bool,
    device: Device,
}

impl Input {
    pub fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Self> {
        if arguments.is_empty() {
            return Err(syn::Error::new(Span::call_site(), USAGE));
        }
        let Arguments { path, embed, device } = syn::parse2(arguments)?;
        let item: ItemStruct = syn::parse2(item).map_err(|error| {
            syn::Error::new(
                error.span(),
                "#[nomopoly::model] goes on a unit struct, as in `struct Digits;`",
            )
        })?;
        if !matches!(item.fields, Fields::Unit) || !item.generics.params.is_empty() {
            return Err(syn::Error::new(
                item.ident.span(),
                format!(
                    "#[nomopoly::model] goes on a unit struct without generics: `struct {};`",
                    item.ident
                ),
            ));
        }
        Ok(Self { item, path, embed, device })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let path: LitStr = input.parse().map_err(|e| syn::Error::new(e.span(), USAGE))?;
        if path.value().is_empty() {
            return Err(syn::Error::new(path.span(), USAGE));
        }
        let (mut embed, mut device) = (None, None);
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let name: Ident = input.parse().map_err(|e| syn::Error::new(e.span(), OPTIONS))?;
            let twice = match name.to_string().as_str() {
                "embed" => {
                    input.parse::<Token![=]>()?;
                    embed.replace(input.parse::<LitBool>()?.value).is_some()
                }
                "device" => {
                    input.parse::<Token![=]>()?;
                    device.replace(device_of(&input.parse()?)?).is_some()
                }
                _ => return Err(syn::Error::new(name.span(), OPTIONS)),
            };
            if twice {
                return Err(syn::Error::new(name.span(), format!("`{name}` is given twice")));
            }
        }
        let device = device.unwrap_or(Device::Cpu);
        Ok(Self { path, embed: embed.unwrap_or(true), device })
    }
}

fn device_of(literal: &LitStr) -> syn::Result<Device> {
    match literal.value().as_str() {
        "auto" => Ok(Device::Auto),
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda),
        "metal" => Ok(Device::Metal),
        _ => Err(syn::Error::new(
            literal.span(),
            "expected \"auto\", \"cpu\", \"cuda\" or \"metal\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn parse(arguments: &str, item: TokenStream) -> Result<Input, String> {
        let arguments = arguments.parse().unwrap();
        Input::parse(arguments, item).map_err(|error| error.to_string())
    }

    fn unit() -> TokenStream {
        quote!(
            pub struct A;
        )
    }

    #[test]
    fn a_path_and_options_on_a_unit_struct_are_accepted() {
        let input = parse("\"m.onnx\"", unit()).unwrap();
        assert_eq!((input.path.value().as_str(), input.embed), ("m.onnx", true));
        assert_eq!(input.device, Device::Cpu);
        let input = parse("\"m.onnx\", device = \"auto\", embed = false,", unit()).unwrap();
        assert_eq!((input.embed, input.device), (false, Device::Auto));
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        let function = quote!(
            fn a() {}
        );
        let tuple = quote!(
            struct A(u8);
        );
        let generic = quote!(
            struct A<T>;
        );
        for (arguments, item, expected) in [
            ("", unit(), "expected the path"),
            ("\"\"", unit(), "expected the path"),
            ("path = \"a\"", unit(), "expected the path"),
            ("\"m\", 3", unit(), "embed = false"),
            ("\"m\", color = 3", unit(), "embed = false"),
            ("\"m\", device = \"cpu\", color = 3", unit(), "embed = false"),
            ("\"m\", embed = 3", unit(), "boolean"),
            ("\"m\", embed = true, embed = true", unit(), "given twice"),
            ("\"m\", device = \"tpu\"", unit(), "metal"),
            ("\"m\"", function, "unit struct"),
            ("\"m\"", tuple, "unit struct"),
            ("\"m\"", generic, "without generics"),
        ] {
            let error = parse(arguments, item).err().expect("a mistake");
            assert!(error.contains(expected), "{arguments}: {error}");
        }
    }
}
