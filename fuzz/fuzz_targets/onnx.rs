#![no_main]

nomopoly_fuzz::target!(onnx);
