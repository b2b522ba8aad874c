use candle_core::{DType, Device, Tensor};
use nomopoly_build::runtime::{onnx::*, operations::*, *};
use std::sync::Arc;
fn main() {
    let g = Graph::bind(
        Arc::new(Model::from_bytes("demo", &nomopoly_build::demo::model(0)).unwrap()),
        &Default::default(),
    )
    .unwrap();
    let op = Operation::from_node(&g, &g.nodes()[0], &Device::Cpu).unwrap().unwrap();
    let lin = op.linear().unwrap();
    let x =
        Tensor::from_vec(nomopoly_build::demo::image(3), (1, 1, 3, 8, 8), &Device::Cpu).unwrap();
    println!("bias {:?}", op.constants()[1].to_vec1::<f32>().unwrap());
    for scale in [1., 1e-1, 1e-2, 1e-3, 0.] {
        let x = (&x * scale).unwrap();
        for (n, y) in [
            ("f32", lin.forward(&x).unwrap()),
            ("re", lin.forward_reordered(&x).unwrap()),
            ("f64", lin.forward_f64(&x).unwrap()),
        ] {
            let mut worst = 0f32;
            let mut worst64 = 0f64;
            for key in 0..200u8 {
                let v =
                    secret_vectors(&VerifierKey::from_bytes([key; 32]), "a", 16, 7, &Device::Cpu)
                        .unwrap();
                let c = lin.contract(&v).unwrap();
                let p = lin.predicted(&x, &c).unwrap();
                let o = lin.observed(&y, &c).unwrap();
                let u = lin.sketch_unit(&x).unwrap();
                let r = (&p - &o)
                    .unwrap()
                    .abs()
                    .unwrap()
                    .broadcast_div(&u)
                    .unwrap()
                    .flatten_all()
                    .unwrap()
                    .max(0)
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap();
                worst = worst.max(r);
                // exact contraction in f64 of y against f64 conv contraction
                let y64 = lin.forward_f64(&x).unwrap();
                let d =
                    ((&y - &y64).unwrap()).to_dtype(DType::F64).unwrap().reshape((16, 64)).unwrap();
                let rd = v
                    .t()
                    .unwrap()
                    .to_dtype(DType::F64)
                    .unwrap()
                    .contiguous()
                    .unwrap()
                    .matmul(&d)
                    .unwrap()
                    .abs()
                    .unwrap();
                let u64_ = u.to_dtype(DType::F64).unwrap().reshape((1, 64)).unwrap();
                worst64 = worst64.max(
                    rd.broadcast_div(&u64_)
                        .unwrap()
                        .flatten_all()
                        .unwrap()
                        .max(0)
                        .unwrap()
                        .to_scalar::<f64>()
                        .unwrap(),
                );
            }
            println!("scale {scale} {n}: worst {worst} runtime-only(vs f64 rounded) {worst64}");
        }
    }
}
