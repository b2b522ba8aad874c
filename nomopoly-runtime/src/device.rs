//! Which device computes.

use candle_core::Device;

use crate::{Error, Result};

/// Where tensors are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// CUDA or Metal where the crate was built with it and a device answers, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when it was asked for by name and is not there.
    pub fn open(self) -> Result<Device> {
        let failed = |device: &'static str, error: candle_core::Error| Error::Device {
            device,
            reason: format!(
                "{error}; build with the feature `{device}` on a machine that has one, or use `cpu`"
            ),
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0).map_err(|error| failed("cuda", error)),
            Self::Metal => Device::new_metal(0).map_err(|error| failed("metal", error)),
            Self::Auto if cfg!(feature = "cuda") => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
            Self::Auto if cfg!(feature = "metal") => {
                Ok(Device::new_metal(0).unwrap_or(Device::Cpu))
            }
            Self::Auto => Ok(Device::Cpu),
        }
    }
}
