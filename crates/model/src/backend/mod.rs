//! The burn backends by name, and the devices behind them.
//!
//! The only module that names a concrete burn backend, and its only place for code of one backend alone. Which ones are compiled in is decided by the cargo
//! features of the same names; which one runs is decided at run time by the key `backend`.

use std::fmt;
use std::str::FromStr;

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::AvgPool2d;
use burn::tensor::{Device, Tensor};
use thiserror::Error;

#[cfg(feature = "flex")]
mod flex_kernels;

/// A burn backend that an experiment can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// burn-flex: CPU, pure Rust; fast convolutions.
    Flex,
    /// burn-ndarray: CPU, pure Rust.
    Ndarray,
    /// burn-wgpu: GPU through Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
}

/// A backend cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BackendError {
    /// No backend has this name.
    #[error("backend: found `{found}`; use one of {}", names(&Backend::ALL))]
    Unknown {
        /// What was asked for.
        found: String,
    },
    /// The backend exists but this program was built without it.
    #[error(
        "backend: `{backend}` is not built in (built in: {}); rebuild with `--features {backend}`, for example \
         `cargo run --release -p reproduce --features {backend} -- CONFIG`",
        names(&Backend::built_in())
    )]
    NotBuiltIn {
        /// What was asked for.
        backend: Backend,
    },
}

impl Backend {
    /// Every backend, built in or not.
    pub const ALL: [Self; 3] = [Self::Flex, Self::Ndarray, Self::Wgpu];

    /// The name used in configurations, flags and cargo features.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
        }
    }

    /// Whether this program was compiled with the backend.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// The backends this program was compiled with.
    pub fn built_in() -> Vec<Self> {
        Self::ALL.into_iter().filter(|backend| backend.is_built_in()).collect()
    }

    /// The backend's default device.
    ///
    /// # Errors
    /// [`BackendError::NotBuiltIn`] if the program was compiled without the backend's cargo feature.
    pub fn device(self) -> Result<Device, BackendError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            // Deprecated by burn in favour of flex, but there to compare with.
            Self::Ndarray =>
            {
                #[allow(deprecated)]
                Ok(Device::ndarray())
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns)]
            backend => Err(BackendError::NotBuiltIn { backend }),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| BackendError::Unknown { found: name.to_owned() })
    }
}

fn names(backends: &[Backend]) -> String {
    let names: Vec<_> = backends.iter().map(|backend| format!("`{backend}`")).collect();
    names.join(", ")
}

/// A convolution by the fastest means that its backend has.
///
/// - `x`: `[N, C_in, H, W]`
/// - returns `[N, C_out, H', W']`
pub(crate) fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let (PaddingConfig2d::Explicit(padding, ..), 1, true) = (&conv.padding, conv.groups, is_flex(&x)) {
        let y = flex_kernels::conv2d(x, conv.weight.val(), conv.stride[0], *padding);
        return match &conv.bias {
            Some(bias) => y + bias.val().reshape([1, -1, 1, 1]),
            None => y,
        };
    }
    conv.forward(x)
}

/// An average pool by the fastest means that its backend has.
///
/// - `x`: `[N, C, H, W]`
pub(crate) fn avg_pool2d(pool: &AvgPool2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if pool.kernel_size == pool.stride && pool.kernel_size[0] == pool.kernel_size[1] && is_flex(&x) {
        return flex_kernels::avg_pool2d(x, pool.kernel_size[0]);
    }
    pool.forward(x)
}

#[cfg(feature = "flex")]
fn is_flex(x: &Tensor<4>) -> bool {
    x.device().inner() == Device::flex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_is_found_by_its_own_name() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
        }
    }

    #[test]
    fn a_backend_that_is_not_built_in_says_how_to_build_it() {
        for backend in Backend::ALL {
            match backend.device() {
                Ok(_) => assert!(backend.is_built_in()),
                Err(error) => {
                    assert!(!backend.is_built_in());
                    assert!(error.to_string().contains(&format!("--features {backend}")), "{error}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_backend_is_refused_with_the_known_names() {
        let error = "cuda".parse::<Backend>().unwrap_err().to_string();
        assert!(error.contains("`cuda`") && error.contains("`flex`, `ndarray`, `wgpu`"), "{error}");
    }
}
