//! The stages of the benchmark of real models.

pub mod audit;
pub mod catalogue;
pub mod compile;
pub mod growth;
pub mod results;
pub mod shapes;
pub mod speed;
pub mod tables;

/// What is measured of each model.
pub const STAGES: [&str; 4] = ["compile", "speed", "audit", "shapes"];

/// How often a stage is run, with how many threads each; `None`: as many as there are cores.
pub fn threads(stage: &str) -> Vec<Option<usize>> {
    match stage {
        "speed" => vec![Some(1), None],
        _ => vec![None],
    }
}

/// Runs one stage of one model in this process.
pub fn run(name: &str, stage: &str, quick: bool) {
    let model = catalogue::get(name).expect("the parent looked");
    match stage {
        "compile" => compile::run(model),
        "speed" => speed::run(model, quick),
        "audit" => audit::run(model, quick),
        _ => shapes::run(model),
    }
}
