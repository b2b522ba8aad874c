//! The code that is generated: types and constants. Behaviour is in `nomopoly-runtime`.

use nomopoly_manifest::{
    ArtefactInterface, Check, ModelInterface, OperationInterface, Rate, TensorInterface,
};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::check::{Checked, Source};
use crate::names;
use crate::parse::{Device, Input};

/// Version of the runtime's types that the code below is written for.
const GENERATED_SCHEMA: u32 = 4;

pub fn expand(input: &Input, checked: &Checked) -> TokenStream {
    let Input { item, path, .. } = input;
    let (ident, vis) = (&item.ident, &item.vis);
    let problem = checked.problem.as_ref().map(|problem| {
        let text = format!("#[nomopoly::model]: {}: {problem}", path.value());
        syn::Error::new(path.span(), text).into_compile_error()
    });
    // The model may be unknown: then the types are there without fields.
    let unknown = ModelInterface {
        name: path.value(),
        digest: "0".repeat(64),
        inputs: vec![],
        outputs: vec![],
        operations: vec![],
    };
    let interface = checked.interface.as_ref().unwrap_or(&unknown);
    let name = &interface.name;
    let (input_type, output_type) = (format_ident!("{ident}Input"), format_ident!("{ident}Output"));
    let inputs = tensors(input, &input_type, "Inputs", name, &interface.inputs);
    let outputs = tensors(input, &output_type, "Outputs", name, &interface.outputs);
    let digest = digest(&interface.digest);
    let operations = interface.operations.iter().map(operation);
    let source = source(&checked.source, input.embed);
    let ledger = ledger(&checked.source);
    let device = match input.device {
        Device::Auto => quote!(Auto),
        Device::Cpu => quote!(Cpu),
        Device::Cuda => quote!(Cuda),
        Device::Metal => quote!(Metal),
    };
    // Makes the compiler look at the manifest again when a build script writes it anew.
    let depends = checked.manifest.as_deref().and_then(std::path::Path::to_str).map(|manifest| {
        quote!(
            const _: &[u8] = ::core::include_bytes!(#manifest);
        )
    });
    quote! {
        #problem
        #item
        #inputs
        #outputs
        #depends
        const _: () = ::core::assert!(
            ::nomopoly::GENERATED_SCHEMA == #GENERATED_SCHEMA,
            "nomopoly and nomopoly-macros do not fit each other: use one version of every Nomopoly crate",
        );

        impl ::nomopoly::Model for #ident {
            type Input = #input_type;
            type Output = #output_type;
            const NAME: &'static str = #name;
            const DIGEST: ::nomopoly::Digest = ::nomopoly::Digest::from_bytes([#(#digest),*]);
            const OPERATIONS: &'static [::nomopoly::Guarantee] = &[#(#operations),*];
            const DEVICE: ::nomopoly::DeviceChoice = ::nomopoly::DeviceChoice::#device;
            const SOURCE: ::nomopoly::Source = #source;
            // The figures are what was measured, however near to a known constant they come.
            #[allow(clippy::all)]
            const LEDGER: ::core::option::Option<&'static ::nomopoly::Ledger> = #ledger;
        }

        #[allow(dead_code)]
        impl #ident {
            /// BLAKE3 of the model file and of its external tensors.
            #vis const DIGEST: ::nomopoly::Digest = <Self as ::nomopoly::Model>::DIGEST;
            /// Every node of the model in its order, with what its proof is worth.
            #vis const OPERATIONS: &'static [::nomopoly::Guarantee] =
                <Self as ::nomopoly::Model>::OPERATIONS;
            /// What an audit measured of every operation and of the whole model; `None` if it was
            /// never audited.
            #vis const LEDGER: ::core::option::Option<&'static ::nomopoly::Ledger> =
                <Self as ::nomopoly::Model>::LEDGER;

            /// The host's side.
            ///
            /// # Errors
            /// See [`nomopoly::Prover::new`].
            #vis fn prover() -> ::nomopoly::Result<::nomopoly::Prover<Self>> {
                ::nomopoly::Prover::new()
            }

            /// The application's side, with a fresh key.
            ///
            /// # Errors
            /// See [`nomopoly::Verifier::new`].
            #vis fn verifier(
                key: ::nomopoly::VerifierKey,
            ) -> ::nomopoly::Result<::nomopoly::Verifier<Self>> {
                ::nomopoly::Verifier::new(key)
            }

            /// The application's side where a host sends receipts, with a fresh key.
            ///
            /// # Errors
            /// See [`nomopoly::ReceiptVerifier::new`].
            #vis fn receipt_verifier(
                key: ::nomopoly::VerifierKey,
            ) -> ::nomopoly::Result<::nomopoly::ReceiptVerifier<Self>> {
                ::nomopoly::ReceiptVerifier::new(key)
            }

            /// The guarantee of one operation, by the name of its output or by its position.
            ///
            /// # Errors
            /// See [`nomopoly::Model::guarantee`].
            #vis fn op<'a>(
                operation: impl ::core::convert::Into<::nomopoly::OperationIndex<'a>>,
            ) -> ::nomopoly::Result<&'static ::nomopoly::Guarantee> {
                <Self as ::nomopoly::Model>::guarantee(operation)
            }
        }
    }
}

/// The struct of a model's inputs or outputs.
fn tensors(
    input: &Input,
    ident: &Ident,
    what: &str,
    model: &str,
    tensors: &[TensorInterface],
) -> TokenStream {
    let vis = &input.item.vis;
    let doc = format!("{what} of `{model}`.");
    let fields = names::fields(tensors.iter().map(|tensor| tensor.name.as_str()));
    let names: Vec<&String> = tensors.iter().map(|tensor| &tensor.name).collect();
    let batched = tensors.iter().map(|tensor| tensor.batch);
    let types = tensors.iter().map(tensor_type);
    let docs = tensors.iter().map(|tensor| {
        let dimension = |(axis, size): (usize, &usize)| match axis {
            0 if tensor.batch => "samples".to_owned(),
            _ if tensor.open.contains(&axis) => "any".to_owned(),
            _ => size.to_string(),
        };
        let shape: Vec<String> = tensor.shape.iter().enumerate().map(dimension).collect();
        format!("`{}`: {} `[{}]`", tensor.name, tensor.dtype, shape.join(", "))
    });
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        #[allow(dead_code)]
        #vis struct #ident {
            #(#[doc = #docs] pub #fields: #types,)*
        }

        impl ::nomopoly::Tensors for #ident {
            const FIELDS: &'static [&'static str] = &[#(#names),*];
            const BATCHED: &'static [bool] = &[#(#batched),*];

            fn to_named(&self) -> ::std::vec::Vec<::nomopoly::NamedTensor> {
                ::std::vec![#(self.#fields.to_named(#names)),*]
            }

            #[allow(unused_mut, unused_variables)]
            fn from_named(mut tensors: ::nomopoly::NamedTensors) -> ::nomopoly::Result<Self> {
                ::core::result::Result::Ok(Self {
                    #(#fields: ::nomopoly::Tensor::from_named(tensors.take(#names)?)?,)*
                })
            }
        }
    }
}

fn tensor_type(tensor: &TensorInterface) -> TokenStream {
    let element = format_ident!("{}", tensor.dtype);
    let dimensions = tensor.shape.iter().enumerate().map(|(axis, size)| {
        if axis == 0 && tensor.batch {
            quote!(::nomopoly::Batch)
        } else if tensor.open.contains(&axis) {
            quote!(::nomopoly::Open)
        } else {
            quote!(::nomopoly::D<#size>)
        }
    });
    quote!(::nomopoly::Tensor<::core::primitive::#element, (#(#dimensions,)*)>)
}

/// 32 bytes; a digest that is none becomes zeros, which no model has.
fn digest(hex: &str) -> Vec<u8> {
    let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..32).map(|index| byte(2 * index).unwrap_or(0)).collect()
}

fn operation(operation: &OperationInterface) -> TokenStream {
    let OperationInterface { name, kind, output_shape, artefact } = operation;
    let checked_by = match artefact {
        None => quote!(Recomputed),
        Some(artefact) if artefact.baseline => quote!(Baseline),
        Some(ArtefactInterface { check: Check::Sketch, .. }) => quote!(Sketch),
        Some(ArtefactInterface { check: Check::Replay, .. }) => quote!(Replay),
    };
    let revealed = artefact.as_ref().is_some_and(|a| a.baseline || a.check == Check::Sketch);
    let proof_dim = artefact.as_ref().and_then(|a| a.proof_dim).unwrap_or(0);
    let sketches = artefact.as_ref().map_or(0, |a| a.sketches);
    let entry = optional(artefact.as_ref().map(|a| &a.entry));
    let certified_bits = optional(artefact.as_ref().and_then(|a| a.certified_bits));
    let certified_deviation = optional(artefact.as_ref().and_then(|a| a.certified_deviation));
    let completeness = optional(artefact.as_ref().map(|a| measured(&a.completeness_error)));
    let soundness = optional(artefact.as_ref().map(|a| measured(&a.soundness_error)));
    quote! {
        ::nomopoly::Guarantee {
            operation: #name,
            kind: #kind,
            checked_by: ::nomopoly::CheckedBy::#checked_by,
            output_shape: &[#(#output_shape),*],
            proof_dim: #proof_dim,
            revealed: #revealed,
            entry: #entry,
            sketches: #sketches,
            certified_bits: #certified_bits,
            certified_deviation: #certified_deviation,
            completeness_error: #completeness,
            soundness_error: #soundness,
        }
    }
}

fn optional(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn measured(rate: &Rate) -> TokenStream {
    let Rate { errors, samples, upper_95 } = rate;
    quote!(::nomopoly::Measured { errors: #errors, samples: #samples, upper_95: #upper_95 })
}

fn source(source: &Source, embed: bool) -> TokenStream {
    match source {
        Source::Ready { model, bundle, external, .. } if embed => {
            let external = external
                .iter()
                .map(|(location, path)| quote!((#location, ::core::include_bytes!(#path))));
            quote! {
                ::nomopoly::Source::Embedded {
                    model: ::core::include_bytes!(#model),
                    external: &[#(#external),*],
                    bundle: ::core::include_bytes!(#bundle),
                }
            }
        }
        Source::Ready { model, bundle, .. } => quote! {
            ::nomopoly::Source::File {
                path: #model,
                bundle: ::core::include_bytes!(#bundle),
            }
        },
        Source::Unavailable(reason) => quote!(::nomopoly::Source::Unavailable { reason: #reason }),
        Source::Broken => {
            let reason = "its build failed";
            quote!(::nomopoly::Source::Unavailable { reason: #reason })
        }
    }
}

/// The ledger stays in the file that the build script wrote: it may be long.
fn ledger(source: &Source) -> TokenStream {
    match source {
        Source::Ready { ledger: Some(file), .. } => {
            quote!(::core::option::Option::Some(&::core::include!(#file)))
        }
        _ => quote!(::core::option::Option::None),
    }
}
