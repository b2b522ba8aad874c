//! The serde types that Nomopoly's compiler, macro and runtime share.
//!
//! This crate is plain data: it depends on serde alone, so that the macro crate can read what
//! the compiler wrote without linking candle or tract. Behaviour lives elsewhere.
#![forbid(unsafe_code)]

mod audit;
mod build;
mod lock;
mod metrics;
mod operation;
mod options;

pub use audit::{
    AUDIT_SCHEMA, Accepted, AttackFigures, Attacker, Audit, AuditSettings, CheckedHow, Defence,
    Deviations, DriftPoint, Family, HonestFigures, OperationAudit, Skipped, WholeModelAudit,
};
pub use build::{
    ArtefactInterface, BuildManifest, BuildStatus, BuiltModel, MANIFEST_PATH, MANIFEST_SCHEMA,
    ModelInterface, OperationInterface, TensorInterface,
};
pub use lock::{Lock, LockedEntry, LockedFigures, LockedModel};
pub use metrics::{
    Case, Certificate, CheckCost, DeviationPoint, Epoch, Figures, Histogram, Metrics, Rate,
};
pub use operation::{Attribute, Check, OperationKind, OperationSpec};
pub use options::{Architecture, CompileOptions, DEFAULT_ENVELOPE, OptionError};

/// Version of every artefact that the compiler writes. Part of each entry's id: a change of
/// meaning or layout makes new entries instead of misreading old ones.
pub const ARTEFACT_SCHEMA: u32 = 3;
