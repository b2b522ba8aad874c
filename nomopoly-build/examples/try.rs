use nomopoly_build::manifest::*;
use nomopoly_build::registry::Registry;
use nomopoly_build::*;
use std::sync::Arc;
struct P;
impl Observer for P {
    fn event(&self, e: &Event) {
        match e {
            Event::Epoch { entry, epoch, .. } => println!(
                "{entry} ep{} acc {:.4} {:?} fool {:.3} dev {:.1e} vl {:.4} al {:.3} h{:.3} f{:.3}",
                epoch.epoch,
                epoch.mean_accuracy,
                epoch.accuracy.values().map(|v| (v * 1000.).round() / 1000.).collect::<Vec<_>>(),
                epoch.fool_rate,
                epoch.deviation,
                epoch.verifier_loss,
                epoch.adversary_loss,
                epoch.honest_score,
                epoch.fake_score
            ),
            Event::Finished { entry, seconds, .. } => println!("{entry} done {seconds:.3}"),
            _ => (),
        }
    }
}
fn main() {
    let arg: Vec<String> = std::env::args().collect();
    let dir = std::path::PathBuf::from("/tmp/try");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let path = if arg.len() > 1 && arg[1] != "demo" {
        arg[1].clone().into()
    } else {
        let p = dir.join("demo.onnx");
        std::fs::write(&p, demo::model(0)).unwrap();
        p
    };
    let mut o = CompileOptions::default();
    if arg.iter().any(|a| a == "mlp") {
        o.architecture = Architecture::Mlp;
    }
    let mut c = Compiler::new(Registry::open(dir.join("ops"))).options(o);
    if arg.iter().any(|a| a == "-v") {
        c = c.observer(Arc::new(P));
    }
    let r = c.compile(&path).unwrap();
    println!("{:.3} s", r.seconds);
    for n in r.operations {
        let f = &n.metrics.figures;
        let c = f.certificate.as_ref();
        println!(
            "{:8} {:30} {:?} k{:?} acc {:.5} frr {}/{} far {}/{} t {:.2?} S {:.2e} bits {:?} dev40 {:.2e} ep {} cost {}/{} sec {:?} B {}",
            n.node,
            n.entry,
            n.metrics.check,
            c.map(|c| c.sketches),
            f.accuracy,
            f.completeness_error.errors,
            f.completeness_error.samples,
            f.soundness_error.errors,
            f.soundness_error.samples,
            c.map(|c| c.threshold),
            c.map_or(0., |c| c.spread),
            c.map(|c| c.bits_at_min_deviation),
            c.map_or(0., |c| c.deviation_at_soundness_bits),
            f.epochs,
            f.cost.verify,
            f.cost.recompute,
            n.seconds,
            n.bytes
        );
        for (c, r) in &f.cases {
            if r.errors > 0 {
                println!("    {c:?} {}/{}", r.errors, r.samples)
            }
        }
    }
    let m = Arc::new(load_compiled(&Registry::open(dir.join("ops")), &path).unwrap());
    use nomopoly_build::runtime::*;
    let dev = candle_core::Device::Cpu;
    let p = Prover::new(m.clone(), &dev).unwrap();
    if arg.len() < 2 || arg[1] == "demo" {
        let input = vec![NamedTensor::from_f32("image", &[1, 3, 8, 8], demo::image(1))];
        let t = std::time::Instant::now();
        let proof = p.prove(&input).unwrap();
        println!("prove {:?} {} bytes", t.elapsed(), proof.to_bytes().unwrap().len());
        let v = Verifier::new(m, &VerifierKey::random().unwrap(), &dev).unwrap();
        let t = std::time::Instant::now();
        let r = v.inspect(&input, &proof).unwrap();
        println!("verify {:?} {}", t.elapsed(), r.reason());
        for o in r.operations {
            println!("{o:?}");
        }
    }
}
