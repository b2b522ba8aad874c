//! Which models there are, at what size they are measured, and their inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nomopoly::onnx::{Graph, Model};
use nomopoly::{CompiledModel, NamedTensor, TensorData};
use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Calibration, load_compiled};

type Shapes = &'static [(&'static str, &'static [usize])];

/// A model and how it is measured.
pub struct Real {
    pub name: &'static str,
    file: &'static str,
    pub about: &'static str,
    /// Shapes of one inference.
    shapes: Shapes,
    /// Other shapes that the same artefacts serve.
    pub others: &'static [Shapes],
    /// Honest residuals of up to so many rounding units.
    envelope: f64,
}

macro_rules! model {
    ($name:literal, $file:literal, $about:literal, $shapes:expr, $others:expr, $envelope:literal) => {
        Real {
            name: $name,
            file: $file,
            about: $about,
            shapes: $shapes,
            others: $others,
            envelope: $envelope,
        }
    };
}

const MODELS: &[Real] = &[
    model!(
        "resnet18",
        "resnet18.onnx",
        "torchvision's ResNet-18",
        &[("image", &[1, 3, 224, 224])],
        &[
            &[("image", &[4, 3, 224, 224])],
            &[("image", &[1, 3, 160, 160])],
            &[("image", &[2, 3, 192, 288])]
        ],
        8.
    ),
    model!(
        "mobilenet_v2",
        "mobilenet_v2.onnx",
        "torchvision's MobileNetV2",
        &[("image", &[1, 3, 224, 224])],
        &[&[("image", &[3, 3, 224, 224])], &[("image", &[1, 3, 128, 192])]],
        32.
    ),
    model!(
        "minilm",
        "minilm.onnx",
        "all-MiniLM-L6-v2, a sentence encoder",
        &[("input_ids", &[1, 128]), ("attention_mask", &[1, 128]), ("token_type_ids", &[1, 128])],
        &[
            &[("input_ids", &[1, 16]), ("attention_mask", &[1, 16]), ("token_type_ids", &[1, 16])],
            &[("input_ids", &[8, 32]), ("attention_mask", &[8, 32]), ("token_type_ids", &[8, 32])],
            &[
                ("input_ids", &[1, 256]),
                ("attention_mask", &[1, 256]),
                ("token_type_ids", &[1, 256])
            ]
        ],
        8.
    ),
    model!(
        "decoder",
        "decoder.onnx",
        "a decoder-only transformer, 4 layers of width 256",
        &[("input_ids", &[1, 128])],
        &[&[("input_ids", &[1, 7])], &[("input_ids", &[4, 64])], &[("input_ids", &[1, 200])]],
        8.
    ),
    model!(
        "angle",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "PP-OCR's angle classifier",
        &[("x", &[1, 3, 48, 192])],
        &[&[("x", &[2, 3, 48, 192])]],
        128.
    ),
    model!(
        "detection",
        "ch_PP-OCRv4_det_infer.onnx",
        "PP-OCRv4's text detection",
        &[("x", &[1, 3, 320, 320])],
        &[&[("x", &[1, 3, 160, 256])]],
        64.
    ),
    model!(
        "recognition",
        "ch_PP-OCRv4_rec_infer.onnx",
        "PP-OCRv4's text recognition",
        &[("x", &[1, 3, 48, 192])],
        &[&[("x", &[1, 3, 48, 320])]],
        64.
    ),
    model!(
        "magika",
        "magika_standard_v3_3.onnx",
        "Magika's file types",
        &[("bytes", &[1, 2048])],
        &[],
        32.
    ),
    model!(
        "silero",
        "silero_vad_16k_sequence.onnx",
        "Silero's voice activity, an LSTM",
        &[("input", &[16, 576]), ("h", &[1, 1, 128]), ("c", &[1, 1, 128])],
        &[&[("input", &[40, 576]), ("h", &[1, 1, 128]), ("c", &[1, 1, 128])]],
        8.
    ),
];

pub fn names() -> Vec<&'static str> {
    MODELS.iter().map(|model| model.name).collect()
}

pub fn all() -> &'static [Real] {
    MODELS
}

/// A model whose file is there.
pub fn get(name: &str) -> Result<&'static Real, String> {
    let model = MODELS.iter().find(|model| model.name == name).ok_or("it is not known")?;
    if model.path().is_file() && model.data_path().is_file() {
        return Ok(model);
    }
    Err(format!(
        "{} is not there: run scripts/fetch-models.sh and scripts/export-models.sh",
        model.path().display()
    ))
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

impl Real {
    pub fn path(&self) -> PathBuf {
        target().join("models").join(self.file)
    }

    fn data_path(&self) -> PathBuf {
        self.path().with_extension("npz")
    }

    /// Where results and the registry lie.
    pub fn folder(&self) -> PathBuf {
        let folder = target().join("bench-models").join(self.name);
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        folder
    }

    pub fn registry(&self) -> Registry {
        Registry::open(self.folder().join("ops"))
    }

    pub fn data(&self) -> Calibration {
        Calibration::load(&self.data_path()).expect("the scripts write what can be read")
    }

    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        by_name(self.shapes)
    }

    pub fn options(&self) -> CompileOptions {
        CompileOptions { envelope: self.envelope, ..CompileOptions::fast() }
    }

    pub fn graph(&self) -> Graph {
        let model = Arc::new(Model::load(self.path()).expect("it can be read"));
        Graph::bind(model, &self.shapes()).expect("tract runs it")
    }

    pub fn compiled(&self) -> Arc<CompiledModel> {
        Arc::new(
            load_compiled(&self.registry(), self.path()).expect("the stage `compile` came before"),
        )
    }

    /// Inference `number` of as many as are asked for: the data's own first, then mixtures of two of
    /// them, halves of texts and sums of images.
    pub fn input(&self, graph: &Graph, data: &Calibration, number: usize) -> Vec<NamedTensor> {
        let own = data.len().max(1);
        let one = data.sample(graph, number).expect("the data fits its model");
        if number < own {
            return one;
        }
        let other = data.sample(graph, number + number / own).expect("the data fits its model");
        let cut = (number / own * 37) % 64 + 32;
        let mix = |(a, b): (NamedTensor, NamedTensor)| {
            let data = match (a.data, b.data) {
                (TensorData::F32(a), TensorData::F32(b)) => {
                    let share = cut as f32 / 128.;
                    let mixed = a.iter().zip(&b).map(|(a, b)| a * share + b * (1. - share));
                    TensorData::F32(mixed.collect())
                }
                (TensorData::I64(mut a), TensorData::I64(b)) => {
                    let from = a.len() * cut / 128;
                    a[from..].copy_from_slice(&b[from..]);
                    TensorData::I64(a)
                }
                (TensorData::I32(mut a), TensorData::I32(b)) => {
                    let from = a.len() * cut / 128;
                    a[from..].copy_from_slice(&b[from..]);
                    TensorData::I32(a)
                }
                (a, _) => a,
            };
            NamedTensor { data, ..a_without_data(&a.name, &a.shape) }
        };
        one.into_iter().zip(other).map(mix).collect()
    }

    /// An input of other shapes: the data's, repeated or cut.
    pub fn resized(&self, one: &[NamedTensor], shapes: Shapes) -> Vec<NamedTensor> {
        let resize = |tensor: &NamedTensor| {
            let shape = by_name(shapes).remove(&tensor.name).unwrap_or(tensor.shape.clone());
            let len: usize = shape.iter().product();
            macro_rules! cycle {
                ($($kind:ident),*) => {
                    match &tensor.data {
                        $(TensorData::$kind(v) => {
                            TensorData::$kind(v.iter().copied().cycle().take(len).collect())
                        })*
                        other => other.clone(),
                    }
                };
            }
            let data = cycle!(F32, I64, I32);
            NamedTensor { data, ..a_without_data(&tensor.name, &shape) }
        };
        one.iter().map(resize).collect()
    }
}

fn a_without_data(name: &str, shape: &[usize]) -> NamedTensor {
    NamedTensor::from_f32(name, shape, vec![])
}

fn by_name(shapes: Shapes) -> BTreeMap<String, Vec<usize>> {
    shapes.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
}
