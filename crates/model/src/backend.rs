//! Names of the burn backends that an experiment can ask for. Nothing here computes: the devices behind the names are in the crate
//! `ann`, which is the only one that knows which of them are compiled in.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

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

/// No backend has this name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("backend: found `{found}`; use one of {}", Backend::list(&Backend::ALL))]
pub struct UnknownBackend {
    /// What was asked for.
    pub found: String,
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

    /// Names as a list for messages.
    pub fn list(backends: &[Self]) -> String {
        let names: Vec<_> = backends.iter().map(|backend| format!("`{backend}`")).collect();
        names.join(", ")
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|backend| backend.name() == name);
        found.ok_or_else(|| UnknownBackend { found: name.to_owned() })
    }
}
