mod support;
use std::time::Instant;
use std::sync::Arc;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::{Plan, cut::{cut, with_outputs}};
use nomopoly::VerifierKey;
use support::{compiled, models};
fn med(mut f: impl FnMut()) -> f64 { let mut v: Vec<f64> = (0..15).map(|_| {let s=Instant::now(); f(); s.elapsed().as_secs_f64()*1e3}).collect(); v.sort_by(f64::total_cmp); v[7] }
fn main() {
    for name in ["conv","encoder"] {
        let whole = models::whole(name).unwrap();
        let (_, model) = compiled::load(&whole);
        let inputs = vec![whole.input.clone()];
        let plain = Plan::new(name, &with_outputs(model.graph(), &[]).unwrap().proto).unwrap();
        let t = Arc::new(inputs[0].to_tract().unwrap());
        println!("{name} plain {:.2}", med(|| {std::hint::black_box(plain.run([t.clone()]).unwrap());}));
        let ys: Vec<&str> = model.proved().map(|c| c.operation.output()).collect();
        let xs: Vec<&str> = model.proved().flat_map(|c| c.operation.inputs()).map(String::as_str).collect();
        let p = Plan::new(name, &with_outputs(model.graph(), &ys).unwrap().proto).unwrap();
        println!("  exposed y {:.2}", med(|| {std::hint::black_box(p.run([t.clone()]).unwrap());}));
        let both: Vec<&str> = ys.iter().chain(&xs).copied().collect();
        let p = Plan::new(name, &with_outputs(model.graph(), &both).unwrap().proto).unwrap();
        println!("  exposed x, y {:.2}", med(|| {std::hint::black_box(p.run([t.clone()]).unwrap());}));
        let prover = Prover::new(model.clone()).unwrap();
        println!("  prove {:.2}", med(|| {std::hint::black_box(prover.prove(&inputs).unwrap());}));
        let proof = prover.prove(&inputs).unwrap();
        let at: Vec<&str> = model.transcript().map(|op| op.operation.output()).collect();
        let mut wanted: Vec<&str> = model.graph().outputs().iter().map(|o| o.name.as_str()).collect();
        for x in &xs { if !wanted.contains(x) { wanted.push(x); } }
        let c = cut(model.graph(), &at, &wanted).unwrap();
        let p = Plan::new(name, &c.proto).unwrap();
        let ins: Vec<Arc<_>> = c.inputs.iter().map(|n| Arc::new(proof.transcript.iter().chain(&inputs).find(|t| t.name==*n).unwrap().to_tract().unwrap())).collect();
        println!("  replay {:.2}", med(|| {std::hint::black_box(p.run(ins.clone()).unwrap());}));
        let out: Vec<&str> = model.graph().outputs().iter().map(|o| o.name.as_str()).collect();
        let v = Verifier::new(&model, &VerifierKey::random().unwrap(), &Device::Cpu).unwrap();
        println!("  verify {:.2}", med(|| {std::hint::black_box(v.inspect(&inputs, &proof).unwrap());}));
        println!("  to_tract {:.2}", med(|| {for t in &proof.transcript { std::hint::black_box(t.to_tract().unwrap());}}));
        println!("  check {:.2}", med(|| {for t in &proof.transcript { std::hint::black_box(t.is_finite());}}));
        let k: Vec<u32> = model.transcript().map(|c| c.artefact.header.sketches).collect();
        println!("  k {k:?} {}", out.len());
    }
}
